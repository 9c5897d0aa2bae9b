# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Operations of `nn` that make products of convolutions."""

import math

from xdsl.dialects.builtin import DYNAMIC_INDEX, FloatAttr, f64
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import irdl_op_definition, operand_def, prop_def, result_def
from xdsl.utils.exceptions import VerifyException

from daqkf.dialects.nn.base import (
    INTEGERS,
    PLAIN,
    SAME,
    STEP,
    TensorOp,
    differ,
    integers,
    integers_of,
    require,
    shape_of,
)
from daqkf.dialects.nn.windows import Windows


class _Windowed(TensorOp):
    """A tensor, and windows over its spatial dimensions."""

    input = operand_def(SAME)
    kernel = prop_def(INTEGERS)
    strides = prop_def(INTEGERS)
    dilations = prop_def(INTEGERS)
    pads = prop_def(INTEGERS)
    result = result_def(SAME)

    assembly_format = PLAIN

    def __init__(self, value: SSAValue, windows: Windows, result: Attribute):
        super().__init__(
            operands=[value],
            properties={
                "kernel": integers(windows.kernel),
                "strides": integers(windows.strides),
                "dilations": integers(windows.dilations),
                "pads": integers(windows.before + windows.after),
            },
            result_types=[result],
        )

    def windows(self) -> Windows:
        """How the windows lie on the image."""
        kernel, strides, dilations, pads = (
            tuple(integers_of(part))
            for part in (self.kernel, self.strides, self.dilations, self.pads)
        )
        return Windows(kernel, strides, dilations, pads[: len(kernel)], pads[len(kernel) :])

    def _require_windows(self) -> Windows:
        """Check the numbers that say how the windows lie."""
        kernel, strides, dilations, pads = (
            integers_of(part) for part in (self.kernel, self.strides, self.dilations, self.pads)
        )
        rank = len(kernel)
        require(
            rank > 0 and len(strides) == len(dilations) == rank and len(pads) == 2 * rank,
            f"a kernel of {rank} dimensions has as many strides and dilations, and twice as many "
            "pads",
        )
        require(
            min(kernel + strides + dilations) > 0, "extents, strides and dilations are at least 1"
        )
        return self.windows()

    def _require_images(self, image: SSAValue, columns: SSAValue) -> None:
        """Check an image [B, C, S…] and its windows [B, P…, C·K…], as far as they are known."""
        windows = self._require_windows()
        whole, parts = shape_of(image), shape_of(columns)
        for value, shape in ((image, whole), (columns, parts)):
            require(
                shape is None or len(shape) == windows.rank + 2,
                f"{value.type} has not two dimensions more than the kernel's {windows.rank}",
            )
        if whole is None or parts is None:
            return
        require(not differ(whole[0], parts[0]), f"{whole[0]} images, {parts[0]} with windows")
        count = math.prod(windows.kernel)
        if whole[1] != DYNAMIC_INDEX:
            require(
                not differ(whole[1] * count, parts[-1]),
                f"windows of {whole[1]} channels have {whole[1] * count} elements, not {parts[-1]}",
            )


@irdl_op_definition
class Im2ColOp(_Windowed):
    """The windows of an image, as the rows of a matrix: [B, C, S…] → [B, P…, C·K…].

    The image is padded with the number `fill` first, by the first half of `pads` in front of each
    spatial dimension, and by the second half behind it. Windows have `kernel` elements, which are
    `dilations` of the image apart, and begin every `strides` elements. The product with weights
    [C·K…, N] is a convolution.

    ```mlir
    %y = nn.im2col %x {kernel = array<i64: 3>, strides = array<i64: 2>, dilations = array<i64: 1>,
        pads = array<i64: 1, 0>, fill = 0.0 : f64}
      : (tensor<?x4x8xf32>) -> tensor<?x4x12xf32>
    ```
    """

    name = "nn.im2col"

    fill = prop_def(STEP)

    def __init__(self, value: SSAValue, windows: Windows, result: Attribute, fill: float = 0.0):
        super().__init__(value, windows, result)
        self.properties["fill"] = FloatAttr(fill, f64)

    def verify_(self) -> None:
        require(
            min(integers_of(self.pads), default=0) >= 0, "an image is padded by at least 0 elements"
        )
        require(math.isfinite(self.fill.value.data), "images are padded with finite numbers")
        self._require_images(self.input, self.result)
        whole, parts = shape_of(self.input), shape_of(self.result)
        if whole is None or parts is None:
            return
        windows = self.windows()
        if DYNAMIC_INDEX not in whole[2:]:
            try:
                found = windows.positions(whole[2:])
            except ValueError as error:
                raise VerifyException(str(error)) from None
            require(
                not any(map(differ, found, parts[1:-1])),
                f"there are windows at {list(found)} positions, not at {list(parts[1:-1])}",
            )


@irdl_op_definition
class Col2ImOp(_Windowed):
    """Windows, added to one another where they overlap: [B, P…, C·K…] → [B, C, S…].

    The windows lie as those of `nn.im2col` on the smallest image that has them; what is padding
    falls away. Negative `pads` make the image larger. Behind a product with weights [N, C·K…] it
    makes a transposed convolution.

    ```mlir
    %y = nn.col2im %x {kernel = array<i64: 3>, strides = array<i64: 2>, dilations = array<i64: 1>,
        pads = array<i64: 1, 0>}
      : (tensor<?x4x12xf32>) -> tensor<?x4x8xf32>
    ```
    """

    name = "nn.col2im"

    def verify_(self) -> None:
        self._require_images(self.result, self.input)
        whole, parts = shape_of(self.result), shape_of(self.input)
        if whole is None or parts is None or DYNAMIC_INDEX in parts[1:-1]:
            return
        try:
            found = self.windows().extents(parts[1:-1])
        except ValueError as error:
            raise VerifyException(str(error)) from None
        require(
            not any(map(differ, found, whole[2:])),
            f"the windows make an image of extents {list(found)}, not {list(whole[2:])}",
        )
