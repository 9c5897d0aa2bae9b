# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Windows of images, against a loop over their elements."""

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import pytest

from daqkf.dialects.nn.windows import Windows, col2im, im2col

Array = np.ndarray[Any, Any]

WINDOWS = [
    Windows((3,), (1,), (1,), (0,), (0,)),
    Windows((2,), (3,), (2,), (1,), (4,)),
    Windows((3, 2), (2, 1), (1, 2), (1, 0), (2, 1)),
    Windows((1, 2, 2), (1, 2, 1), (1, 1, 3), (0, 1, 2), (0, 0, 2)),
]


def places(windows: Windows, extents: Sequence[int]) -> Any:
    """Every position of the window, element of it, and place of that on the image."""
    for position in product(*map(range, windows.positions(extents))):
        for element in product(*map(range, windows.kernel)):
            yield (
                position,
                element,
                tuple(
                    index * stride + inner * dilation - before
                    for index, stride, inner, dilation, before in zip(
                        position,
                        windows.strides,
                        element,
                        windows.dilations,
                        windows.before,
                        strict=True,
                    )
                ),
            )


def inside(place: Sequence[int], extents: Sequence[int]) -> bool:
    return all(0 <= index < extent for index, extent in zip(place, extents, strict=True))


@pytest.mark.parametrize("windows", WINDOWS, ids=str)
def test_windows_are_what_a_loop_gathers_and_adds(windows: Windows):
    rng = np.random.default_rng(1)
    extents = (6, 5, 7)[: windows.rank]
    x = rng.integers(-9, 9, (2, 3, *extents))
    positions = windows.positions(extents)
    gathered = np.full((2, *positions, 3, *windows.kernel), 5)
    columns = rng.integers(-9, 9, gathered.shape)
    added = np.zeros_like(x)
    for position, element, place in places(windows, extents):
        if inside(place, extents):
            gathered[(slice(None), *position, slice(None), *element)] = x[
                (slice(None), slice(None), *place)
            ]
            added[(slice(None), slice(None), *place)] += columns[
                (slice(None), *position, slice(None), *element)
            ]
    rows = (2, *positions, -1)
    np.testing.assert_array_equal(im2col(x, windows, 5), gathered.reshape(rows))
    np.testing.assert_array_equal(col2im(columns.reshape(rows), windows, extents), added)


def test_an_image_may_be_larger_than_its_windows():
    windows = Windows((2,), (2,), (1,), (-1,), (-2,))
    image = col2im(np.arange(1, 7).reshape(1, 3, 2), windows)
    np.testing.assert_array_equal(image[0, 0], [0, 1, 2, 3, 4, 5, 6, 0, 0])


def test_windows_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="a window of 5 elements on 3, padded by 0 and 1"):
        im2col(np.zeros((1, 1, 3)), Windows((3,), (1,), (2,), (0,), (1,)))
    with pytest.raises(ValueError, match="an image of extents \\[-1\\]"):
        col2im(np.zeros((1, 1, 2)), Windows((2,), (1,), (1,), (2,), (1,)))
