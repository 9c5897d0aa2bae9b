# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Sphinx's settings for the documents as a site; `docs/site_sources.py` makes what it reads."""

from pygments.lexers.special import TextLexer
from sphinx.highlighting import lexers

project = "DAQKF"
copyright = "Licensed under Apache-2.0 with LLVM exceptions"
extensions = ["myst_nb"]
html_theme = "furo"
html_title = "DAQKF"
html_show_sphinx = False
html_copy_source = False
myst_heading_anchors = 4
nb_execution_mode = "off"  # notebooks come with their outputs
nitpicky = True
nb_output_stderr = "remove"  # progress, which names folders of this machine
lexers["mlir"] = TextLexer()
