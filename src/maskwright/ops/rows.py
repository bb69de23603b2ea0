"""Loops over rows of flat arrays that LLVM turns into vector instructions.

    for x in indices(count):
        store(out, o + x, out[o + x] + load(values, v + x))    # o and v unsigned

Numba lets an index count from the end and lets every array overlap every other; both keep such loops scalar.
"""

# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators, allow-untyped-calls

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic


def _read_only(module):
    """LLVM metadata for what `load` reads and `store` does not write: without it loops of many rows stay scalar."""
    domain = module.add_metadata([ir.MetaDataString(module, "rows")])
    return module.add_metadata([module.add_metadata([ir.MetaDataString(module, "read only"), domain])])


@intrinsic
def load(typing, array, index):
    """Return array[index] of a flat array, an element that no `store` of the same function writes; index is unsigned."""

    def generate(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        value = builder.load(builder.gep(data, [arguments[1]]))
        value.set_metadata("alias.scope", _read_only(builder.module))
        return value

    return array.dtype(array, types.uintp), generate


@intrinsic
def store(typing, array, index, value):
    """Write array[index] of a flat array, an element that no `load` of the same function reads; index is unsigned."""

    def generate(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        builder.store(arguments[2], builder.gep(data, [arguments[1]])).set_metadata(
            "noalias", _read_only(builder.module)
        )
        return context.get_dummy_value()

    return types.void(array, types.uintp, array.dtype), generate


@njit(inline="always")
def indices(count):
    """Return the range of an unsigned index, for which numba leaves out the test whether it counts from the end."""
    return range(np.uint64(count))
