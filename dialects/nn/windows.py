# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Windows that slide over an image: convolutions become products of matrices by them.

A convolution is a product of the matrix of all windows (im2col) and the weights; a transposed one
adds the windows that a product gives to an image (col2im). Chellapilla, Puri and Simard, "High
Performance Convolutional Neural Networks for Document Processing", 2006.

Letters in shapes: batch B, channels C, spatial extents S…, positions of the window P…, extents of
the window K….
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Windows:
    """How windows lie on an image; each tuple has a number for each spatial dimension."""

    kernel: tuple[int, ...]
    """Elements of a window."""
    strides: tuple[int, ...]
    """Elements of the image from one window to the next."""
    dilations: tuple[int, ...]
    """Elements of the image from one element of the window to the next."""
    before: tuple[int, ...]
    """Elements that the image is padded with in front."""
    after: tuple[int, ...]
    """Elements that it is padded with behind."""

    @property
    def rank(self) -> int:
        """Spatial dimensions."""
        return len(self.kernel)

    @property
    def reach(self) -> tuple[int, ...]:
        """Elements of the image from the first to the last one of a window, both counted."""
        return tuple(
            (extent - 1) * dilation + 1
            for extent, dilation in zip(self.kernel, self.dilations, strict=True)
        )

    @property
    def is_point(self) -> bool:
        """Whether each element of the image is a window by itself."""
        ones = (1,) * self.rank
        return self.kernel == self.strides == ones and not any(self.before + self.after)

    def positions(self, extents: Sequence[int]) -> tuple[int, ...]:
        """How many windows lie along each dimension of an image of these extents.

        Raises:
            ValueError: none does.
        """
        found: list[int] = []
        for axis, extent in enumerate(extents):
            room = extent + self.before[axis] + self.after[axis] - self.reach[axis]
            if room < 0:
                raise ValueError(
                    f"a window of {self.reach[axis]} elements on {extent}, padded by "
                    f"{self.before[axis]} and {self.after[axis]}"
                )
            found.append(room // self.strides[axis] + 1)
        return tuple(found)

    def extents(self, positions: Sequence[int]) -> tuple[int, ...]:
        """The least extents of an image on which so many windows lie.

        Raises:
            ValueError: there is no such image.
        """
        found = tuple(
            (count - 1) * self.strides[axis]
            + self.reach[axis]
            - self.before[axis]
            - self.after[axis]
            for axis, count in enumerate(positions)
        )
        if min(found, default=0) < 0:
            raise ValueError(f"an image of extents {list(found)}")
        return found


def im2col(x: Array, windows: Windows, fill: float = 0) -> Array:
    """The windows of an image [B, C, S…], padded with `fill`: [B, P…, C·K…].

    Raises:
        ValueError: no window lies on it.
    """
    positions = windows.positions(x.shape[2:])
    if any(windows.before + windows.after):
        pads = [(0, 0), (0, 0), *zip(windows.before, windows.after, strict=True)]
        x = np.pad(x, pads, constant_values=fill)
    axes = tuple(range(2, x.ndim))
    views = np.lib.stride_tricks.sliding_window_view(x, windows.reach, axes)  # pyright: ignore[reportCallIssue, reportArgumentType]
    places = (
        slice(None),
        slice(None),
        *(slice(None, None, step) for step in windows.strides),
        *(slice(None, None, step) for step in windows.dilations),
    )
    order = (0, *axes, 1, *range(2 + windows.rank, 2 + 2 * windows.rank))
    columns = views[places].transpose(order)
    # An explicit extent, as −1 says nothing where there are no images.
    return columns.reshape(len(x), *positions, x.shape[1] * math.prod(windows.kernel))


def col2im(columns: Array, windows: Windows, extents: Sequence[int] | None = None) -> Array:
    """Windows [B, P…, C·K…], added to one another where they overlap: an image [B, C, S…].

    What windows have of the padding falls away. Negative padding makes the image larger.

    Args:
        columns: the windows.
        windows: how they lie on the image.
        extents: S…; by default the least that the windows lie on.

    Raises:
        ValueError: there is no such image.
    """
    batch, *positions, _ = columns.shape
    extents = windows.extents(positions) if extents is None else tuple(extents)
    channels = columns.shape[-1] // math.prod(windows.kernel)
    parts = columns.reshape(batch, *positions, channels, *windows.kernel)
    # The canvas begins where the first window or the image does, and has room for both.
    offsets = tuple(max(0, -before) for before in windows.before)
    origins = tuple(max(0, before) for before in windows.before)
    canvas = [
        max(offset + (count - 1) * stride + reach, origin + extent)
        for offset, count, stride, reach, origin, extent in zip(
            offsets, positions, windows.strides, windows.reach, origins, extents, strict=True
        )
    ]
    image = np.zeros((batch, *canvas, channels), columns.dtype)
    for place in np.ndindex(*windows.kernel):
        target = [slice(None)]
        for axis, index in enumerate(place):
            first, stride = offsets[axis] + index * windows.dilations[axis], windows.strides[axis]
            target.append(slice(first, first + (positions[axis] - 1) * stride + 1, stride))
        image[tuple(target)] += parts[(..., *place)]
    inner = tuple(
        slice(origin, origin + extent) for origin, extent in zip(origins, extents, strict=True)
    )
    return np.moveaxis(image[(slice(None), *inner)], -1, 1)
