# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Pages of `daqkf report`: what they say, what they refuse, and how they look in a browser."""

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from chromium import Tab, browser, installed
from onnx import TensorProto, helper, numpy_helper
from pdf_pages import figures, sizes

import daqkf
from daqkf.cli import reporting
from daqkf.cli.main import main
from daqkf.compiler.named_models import NamedModel
from daqkf.support.errors import DaqkfError

RNG = np.random.default_rng(22)
WEIGHTS = RNG.standard_normal((24, 12)).astype(np.float32)
X = RNG.standard_normal((64, 24)).astype(np.float32)
HOSTILE = "<script>alert('1')</script><img src=x onerror=alert(2)>"
"""A name as a file may have it."""


class Read(HTMLParser):
    """The tags and the texts of a page."""

    def __init__(self, page: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def model() -> onnx.ModelProto:
    """A product, softmax, and two products, whose names are hostile."""
    nodes = [
        helper.make_node("MatMul", ["x", "up"], ["sums"], name=f"{HOSTILE}/up"),
        helper.make_node("Softmax", ["sums"], ["shares"], name=f"{HOSTILE}.shares"),
        helper.make_node("MatMul", ["shares", "down"], ["hidden"], name=f"{HOSTILE}/down"),
        helper.make_node("Relu", ["hidden"], ["positive"], name=f"{HOSTILE}/relu"),
        helper.make_node("MatMul", ["positive", "up"], ["y"], name=f"{HOSTILE}/last"),
    ]
    graph = helper.make_graph(
        nodes,
        "mlp",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 24])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 12])],
        [numpy_helper.from_array(WEIGHTS, "up"), numpy_helper.from_array(WEIGHTS.T.copy(), "down")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a layer, a network, what they are of, and the results of a benchmark."""
    place = tmp_path_factory.mktemp("pages")
    np.save(place / "w.npy", WEIGHTS)
    np.savez(place / "x.npz", x=X)
    onnx.save(model(), place / "net.onnx")
    options: dict[str, Any] = {"target": "tiny", "levels": "codebook-7", "sparsity": 0.5}
    daqkf.compile(WEIGHTS, calibration=X, **options).save(place / "layer")
    daqkf.compile(place / "net.onnx", calibration={"x": X}, target="tiny").save(place / "net")
    rows = [
        {"array": array, "sparsity": sparsity, "cosine": 1 - sparsity / 9, "rate": 3.0 + sparsity}
        for array in ("ours", HOSTILE)
        for sparsity in (0.0, 0.5, 0.7)
    ]
    (place / "bench.json").write_text(json.dumps({"clock_mhz": 250, "rows": rows}))
    wide = [row | {f"figure_of_many_{n}": n * row["rate"] for n in range(24)} for row in rows]
    (place / "wide.json").write_text(json.dumps(wide))
    return place


def page(place: Path, *arguments: str) -> str:
    """The page that the command line writes."""
    output = place / "page.html"
    assert main(["report", *arguments, "-o", str(output)]) == 0
    return output.read_text()


def numbers(text: str) -> set[int]:
    return {int(found.replace(",", "")) for found in re.findall(r"\b\d[\d,]*\b", text)}


def test_a_layer(place: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["report", str(place / "layer"), "--source", str(place / "w.npy")]) == 0
    assert str(place / "layer" / "report.html") in capsys.readouterr().out
    read = Read((place / "layer" / "report.html").read_text())
    design = daqkf.Design.load(place / "layer")
    titles = [attributes.get("id") for tag, attributes in read.tags if tag == "section"]
    assert titles == [
        *("accuracy", "utilisation", "roofline", "bytes", "memory", "resources"),
        *("zeros", "levels"),
    ]
    words = design.summary()["stream_words"]
    assert {design.cycles, min(words), max(words), len(design.program)} <= numbers(read.text)
    real = WEIGHTS.astype(np.float64)
    noise = ((real - design.weight_levels * design.weight_scales.astype(np.float64)) ** 2).sum()
    assert f"{10 * np.log10((real**2).sum() / noise):.1f} dB" in read.text
    assert any(tag == "img" and attributes["alt"] for tag, attributes in read.tags)


def test_a_network_with_hostile_names(place: Path):
    text = page(place, str(place / "net"), "--source", str(place / "net.onnx"))
    read = Read(text)
    assert [tag for tag, _ in read.tags].count("script") == 1
    assert not any("onerror" in attributes for _, attributes in read.tags)
    assert not any(name.startswith("on") for _, attributes in read.tags for name in attributes)
    assert "alert('1')" in read.text
    network = daqkf.CompiledNetwork.load(place / "net")
    found = numbers(read.text)
    assert {network.cycles, network.saved()} - {0} <= found
    for row in network.traffic():
        assert {row["in"], row["out"], row["program_bytes"]} <= found
    assert read.text.count("softmax") >= 1 and "Before fusion" in read.text


def test_each_kernel_on_inputs(place: Path):
    inputs = "--inputs", str(place / "x.npz")
    text = page(place, str(place / "net"), "--source", str(place / "net.onnx"), *inputs)
    network = daqkf.CompiledNetwork.load(place / "net")
    for error in network.debug({"x": X}, place / "net.onnx"):
        assert f"{error.sqnr:.1f} dB" in text


def test_a_page_asks_for_nothing(place: Path):
    for source in ("layer", "net", "bench.json"):
        read = Read(page(place, str(place / source)))
        policies = [a["content"] for _, a in read.tags if "http-equiv" in a]
        assert len(policies) == 1 and policies[0] and policies[0].startswith("default-src 'none'")
        assert "unsafe" not in policies[0]
        for tag, attributes in read.tags:
            for name in ("src", "href"):
                assert (attributes.get(name) or "#").startswith(("#", "data:")), (tag, attributes)
            assert "style" not in attributes, "the policy forbids it"


def test_a_benchmark(place: Path):
    read = Read(page(place, str(place / "bench.json")))
    assert "clock mhz" in read.text and HOSTILE in read.text
    lines = [a for tag, a in read.tags if tag == "path" and "line" in (a.get("class") or "")]
    assert len(lines) == 2 * 2 * 2  # two metrics, two arrays, and each once in the legend


def test_a_fit_converges(place: Path):
    read = Read(page(place, str(place / "w.npy"), "--levels", "codebook-7"))
    assert "Convergence" in read.text
    (entry,) = daqkf_report_entries(place)
    assert f"{entry.quantised.sqnr:.1f} dB" in read.text


def daqkf_report_entries(place: Path) -> Any:
    from daqkf.compiler.options import level_set
    from daqkf.reports.model import analyse, of_array

    return analyse(of_array("w", np.load(place / "w.npy")), level_set("codebook-7"))


def test_matrices_stand_in_the_order_of_their_kernels(place: Path):
    read = Read(page(place, str(place / "net")))
    kernels = daqkf.CompiledNetwork.load(place / "net").selected()
    table = read.text.partition("Zeros of each matrix")[2]
    places = [table.index(f"{name}.weights") for name in kernels]
    assert len(kernels) == 2 and places == sorted(places)


def test_a_named_model_needs_no_source(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    options: dict[str, Any] = {"target": "tiny", "model": "minilm"}
    network = daqkf.compile(place / "net.onnx", calibration={"x": X}, **options)
    assert isinstance(network, daqkf.CompiledNetwork)
    network.save(place / "named")
    batches = [{"x": X[:8]}, {"x": X[8:20]}, {"x": X[20:]}]
    known = NamedModel(place / "net.onnx", batches)
    monkeypatch.setattr(reporting, "named_model", lambda name: {"minilm": known}[name])
    text = page(place, str(place / "named"))
    assert "on 12 samples of its calibration" in text
    for error in network.debug(batches[1], place / "net.onnx"):
        assert f"{error.sqnr:.1f} dB" in text

    def absent(name: str) -> NamedModel:
        raise DaqkfError(f"{name} is not here")

    monkeypatch.setattr(reporting, "named_model", absent)
    capsys.readouterr()
    assert "With --source" in page(place, str(place / "named"))
    assert capsys.readouterr().err == "accuracy is left out: minilm is not here\n"
    refused(
        ["report", str(place / "named"), "--source", "minilm", "-o", str(place / "no.html")],
        "minilm is not here",
        capsys,
    )


BAD = {
    "empty": ("", None, "nothing in it was compiled: no design.json and no network.json"),
    "truncated": ("network.json", '{"target": "ti', "not JSON"),
    "list": ("design.json", "[]", "must be an object, not a list"),
    "no-hashes": ("design.json", "{}", "lacks"),
}


@pytest.mark.parametrize(("name", "text", "message"), BAD.values(), ids=list(BAD))
def test_folders_that_are_none(
    name: str,
    text: str | None,
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    if text is not None:
        (tmp_path / name).write_text(text)
    refused(["report", str(tmp_path)], message, capsys)
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"rows": [', "not JSON"),
        ("[" * 100_000, "nested too deeply"),
        ("[1, 2]", "expected a benchmark"),
        ('{"rows": []}', "expected a benchmark"),
        ('{"trials": "many"}', "expected a benchmark"),
        ("\xff", "not a text file"),
    ],
)
def test_files_that_are_no_benchmark(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "b.json").write_bytes(text.encode("latin-1"))
    refused(["report", str(tmp_path / "b.json"), "-o", str(tmp_path / "b.html")], message, capsys)
    assert not (tmp_path / "b.html").exists()


@pytest.mark.parametrize(
    "rows",
    [
        [{"sparsity": float("inf"), "a": float("nan")}, {"sparsity": 0, "a": None}],
        [{"sparsity": 10**400, "a": 1}, {"sparsity": 0, "a": "x"}],
        [{}, {"a": {"b": {"c": 1}}, "d": [1]}],
        [{"sparsity": s, "a": 1e-290 * s, "b": -s} for s in (0, 0.5, 1)],
    ],
)
def test_odd_values_are_shown(rows: list[Any], tmp_path: Path):
    (tmp_path / "b.json").write_text(json.dumps(rows))
    assert "2 rows" in page(tmp_path, str(tmp_path / "b.json")) or len(rows) == 3


def refused(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and error.startswith("daqkf: ")


def test_what_does_not_go_together(place: Path, capsys: pytest.CaptureFixture[str]):
    net, out = str(place / "net"), str(place / "no.html")
    inputs = ["--inputs", str(place / "x.npz")]
    refused(["report", net, *inputs, "-o", out], "inputs need the network", capsys)
    refused(["report", str(place / "w.npy"), *inputs, "-o", out], "for the folder", capsys)
    refused(["report", str(place / "layer"), *inputs, "-o", out], "are for networks", capsys)
    bench = str(place / "bench.json")
    refused(["report", bench, "-o", str(place / "folder")], "is a page", capsys)
    assert not Path(out).exists()


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    chromium = installed()
    if chromium is None:
        pytest.skip("no Chromium is installed")
    with browser(chromium, tmp_path_factory.mktemp("chromium")) as tab:
        yield tab


OVERLAPS = """(() => {
  const found = [];
  const inside = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1
    && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1;
  const check = (nodes) => {
    const boxes = [...nodes].map(node => [node, node.getBoundingClientRect()])
      .filter(([, box]) => box.width && box.height);
    const said = (node) => node.textContent.slice(0, 40);
    boxes.forEach(([one, a], i) => boxes.slice(i + 1).forEach(([other, b]) => {
      if (inside(a, b)) found.push(said(one) + ' | ' + said(other));
    }));
  };
  check(document.querySelectorAll('header > *, main > section'));
  const blocks = ':scope > :not(details)';
  for (const part of document.querySelectorAll('section')) check(part.querySelectorAll(blocks));
  for (const svg of document.querySelectorAll('.chart > svg')) check(svg.querySelectorAll('text'));
  for (const svg of document.querySelectorAll('svg.zoom')) check(svg.querySelectorAll('.node'));
  for (const row of document.querySelectorAll('tr')) check(row.children);
  return found;
})()"""
"""Texts, nodes, cells and blocks that lie over one another."""

BEYOND = """(() => [...document.querySelectorAll('body *')].filter(node => {
  if (node.closest('%s')) return false;
  const box = node.getBoundingClientRect();
  return box.width && box.right > document.documentElement.clientWidth + 1;
}).map(node => node.outerHTML.slice(0, 80)))()"""
"""Elements that reach beyond the right edge, but for those of a kind."""

OUTSIDE = BEYOND % "svg :not(svg), .scroll, .skip"

PICTURES = """[...document.querySelectorAll('img')].map(one => one.naturalWidth)"""
WIDE = "document.documentElement.scrollWidth - document.documentElement.clientWidth"

A4, MARGIN = (210, 297), 12
"""In mm; the margin at each side is that of the page's style."""

SHOWN = """(() => [...document.querySelectorAll('nav, button, .detail')].filter(
  node => node.getClientRects().length).length)()"""
"""Controls that can be seen."""

COLOURS = """(() => [...document.querySelectorAll('body, section, .node rect')].map(node => {
  const style = getComputedStyle(node);
  return node.matches('rect') ? style.fill : style.backgroundColor;
}))()"""
"""What letters stand on."""


def shown_well(tab: Tab, shown: Path, width: int, dark: bool) -> None:
    """A page on a screen: nothing is too wide, over something else, or in the wrong colours."""
    tab.open(shown, width, dark)
    assert tab.value(WIDE) == 0
    assert tab.value(OUTSIDE) == []
    assert tab.value(OVERLAPS) == []
    assert all(tab.value(PICTURES))
    assert (lightness(tab.value(COLOURS)[0]) < 0.3) == dark
    assert tab.value(SHOWN)
    assert tab.complaints == []


@pytest.mark.parametrize("width", [400, 800, 1400])
@pytest.mark.parametrize("source", ["layer", "net", "bench.json"])
def test_a_browser_shows_it(source: str, width: int, place: Path, tab: Tab):
    page(place, str(place / source))
    for dark in (False, True):
        shown_well(tab, place / "page.html", width, dark)
        assert bool(tab.value(PICTURES)) == (source != "bench.json")
    assert {url.partition(":")[0] for url in tab.requests} <= {"file", "data"}
    assert all(url.startswith(("data:", place.as_uri())) for url in tab.requests)


def lightness(colour: str) -> float:
    """From 0 to 1, of a colour as a browser says it; of what is transparent 1."""
    *parts, opaque = [*map(float, re.findall(r"[\d.]+", colour)), 1.0][:4]
    return sum(parts) / 765 if opaque else 1.0


def printed_well(tab: Tab, shown: Path) -> None:
    """A page on A4: nothing is too wide, cut in two, dark, or of no use on paper.

    Parts that are folded are looked at, too.
    """
    # A reader whose screen is dark prints on white paper all the same.
    unfold = "document.querySelectorAll('details').forEach(one => { one.open = true; })"
    width = round((A4[0] - 2 * MARGIN) / 25.4 * 96)
    tab.open(shown, width, dark=True, media="print")
    for folded in (True, False):
        if not folded:
            tab.value(unfold)
        assert tab.value(WIDE) == 0
        assert tab.value(BEYOND % "svg :not(svg), .skip") == []
        assert tab.value(OVERLAPS) == []
    assert tab.value(SHOWN) == 0
    assert min(map(lightness, tab.value(COLOURS))) > 0.8
    tab.open(shown, 800, dark=True, media="")
    tab.value(unfold)
    pdf = tab.pdf(*A4)
    assert len(sizes(pdf)) > 1 and set(sizes(pdf)) == {A4}
    found = figures(pdf)
    assert len(found) >= tab.value("document.querySelectorAll('figure').length") > 0
    assert all(len(pages) == 1 for pages in found)
    assert tab.complaints == []


@pytest.mark.parametrize("source", ["layer", "net", "wide.json"])
def test_it_is_readable_on_paper(source: str, place: Path, tab: Tab):
    page(place, str(place / source))
    printed_well(tab, place / "page.html")


@pytest.mark.slow
def test_the_whole_of_minilm(tmp_path: Path, tab: Tab):
    """A folder that was compiled by the model's name has everything on its page."""
    folder = tmp_path / "minilm"
    options = ["--target", "wide-banks", "--levels", "uniform-15", "--jobs", "1"]
    assert main(["compile", "minilm", *options, "-o", str(folder)]) == 0
    assert main(["report", str(folder)]) == 0
    shown = folder / "report.html"
    read = Read(shown.read_text())
    kernels = daqkf.CompiledNetwork.load(folder).selected()
    assert len(kernels) == 18 and all(read.text.count(name) >= 3 for name in kernels)
    accuracy = read.text.partition("Float against integers")[2].partition("Elements and ports")[0]
    found = [float(sqnr) for sqnr in re.findall(r"([\d.]+) dB", accuracy)]
    assert len(found) >= len(kernels) and min(found) > 10 and max(found) > 25
    assert 1e5 < shown.stat().st_size < 1e6
    for width in (400, 1400):
        for dark in (False, True):
            shown_well(tab, shown, width, dark)
    printed_well(tab, shown)


def test_a_graph_is_printed_whole_and_then_as_before(place: Path, tab: Tab):
    page(place, str(place / "net"))
    tab.open(place / "page.html", 800)
    box = "document.querySelector('svg.zoom').getAttribute('viewBox')"
    tab.value("document.querySelector('[data-do=in]').click()")
    seen = tab.value(box)
    tab.value("""addEventListener('beforeprint', () => {
      window.printed = document.querySelector('svg.zoom').getAttribute('viewBox');
    })""")
    tab.pdf(*A4)
    size = "document.querySelector('svg.zoom').dataset"
    whole = [0, 0, float(tab.value(f"{size}.width")), float(tab.value(f"{size}.height"))]
    assert [float(part) for part in tab.value("window.printed").split()] == whole
    assert tab.value(box) == seen != tab.value("window.printed")


def test_a_graph_moves(place: Path, tab: Tab):
    page(place, str(place / "net"))
    tab.open(place / "page.html", 1400)
    box = "document.querySelector('svg.zoom').getAttribute('viewBox')"
    before = [float(part) for part in tab.value(box).split()]
    tab.value("document.querySelector('svg.zoom').focus()")
    for key, changed in (("+", 2), ("ArrowRight", 0), ("ArrowDown", 1)):
        tab.call("Input.dispatchKeyEvent", type="keyDown", key=key)
        after = [float(part) for part in tab.value(box).split()]
        assert after[changed] != before[changed], key
        before = after
    wheel = {"type": "mouseWheel", "x": 700, "y": 450, "deltaX": 0, "deltaY": -100}
    tab.value("document.querySelector('svg.zoom').scrollIntoView({block: 'center'})")
    tab.call("Input.dispatchMouseEvent", **wheel)
    assert float(tab.value(box).split()[2]) < before[2]
    tab.value("document.querySelector('.node').dispatchEvent(new Event('click', {bubbles: true}))")
    assert "on the" in tab.value("document.querySelector('.detail').textContent")


def test_a_browser_sees_overlaps(tmp_path: Path, tab: Tab):
    bad = tmp_path / "bad.html"
    bad.write_text(
        "<header><p>one</p><p style='margin-top: -30px; width: 3000px'>two</p></header>"
        "<img src='data:image/png;base64,AAAA'>"
    )
    tab.open(bad, 400)
    assert tab.value(OVERLAPS) and tab.value(OUTSIDE) and tab.value(PICTURES) == [0]


def test_a_browser_sees_pictures_that_are_cut_in_two(tmp_path: Path, tab: Tab):
    bad = tmp_path / "bad.html"
    box = "<svg role='img' aria-label='p' width='90' height='90'><circle r='80'/></svg><br>"
    bad.write_text(f"<figure>{box * 20}</figure><figure>{box}</figure>")
    pdf = tab.open(bad, 800, media="").pdf(*A4)
    assert len(sizes(pdf)) == 2
    assert sorted(map(len, figures(pdf)))[-2:] == [1, 2]
