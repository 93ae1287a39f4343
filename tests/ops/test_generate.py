"""iota counts along one axis in every dtype, as Python counts."""

import numpy as np
import pytest

from ptir.ir import Dim, Program, dtype, param, tensor_type
from ptir.ops.evaluate import evaluate
from ptir.ops.generate import iota
from ptir.ops.linear import dot_general
from tests.data import REALS
from tests.exact import nearest
from tests.ops.calling import call


@pytest.mark.parametrize("shape", [(1,), (5,), (2, 3), (4, 1, 3), (0,), (2, 0, 3)])
def test_iota_is_the_index_along_its_axis(shape):
    for axis in range(len(shape)):
        got = call(iota, shape=shape, dtype="si32", axis=axis)
        np.testing.assert_array_equal(got, np.indices(shape, np.int32)[axis], strict=True)


@pytest.mark.parametrize("of", REALS)
def test_iota_is_the_nearest_value_of_its_dtype(of):
    got = call(iota, shape=(300,), dtype=of, axis=0)
    index = np.arange(300)
    if dtype(of).is_float:
        want = nearest(index.astype(np.float64), of).astype(np.float64)
    else:
        want = np.minimum(index, float(dtype(of).range[1]))
    np.testing.assert_array_equal(got.astype(np.float64), want)


def test_symbolic_iota_takes_its_size_from_an_input():
    N = Dim.symbol("N")

    def weigh(x):
        return dot_general(x, iota(shape=(N,), dtype="f32", axis=0), contract_lhs=0, contract_rhs=0)

    program = Program.of([tensor_type((N,), "f32")], weigh).verify()
    assert evaluate(program, [np.ones(5, np.float32)])[0] == 10
    assert param(0, tensor_type((N,), "f32")).type == iota(shape=(N,), dtype="f32", axis=0).type
