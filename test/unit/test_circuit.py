# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The signal algebra: widths, drivers, instances."""

import pytest

from daqkf.lowering.hdl.circuit import Circuit, CircuitError, circuit_module, concat, mux


def counter(name: str = "counter") -> Circuit:
    c = Circuit(name)
    c.clock("clk")
    c.reset(c.input("rst", 1))
    count = c.register("count", 4, reset=3)
    count.drive(count + 1, enable=c.input("enable", 1))
    c.output("value", count)
    c.finish()
    return c


def test_a_register_may_be_read_before_it_is_driven():
    text = str(circuit_module(counter()))
    assert '%1 = comb.add %count, %0 {sv.namehint = "count_next"} : i4' in text
    assert '%count = seq.compreg.ce %1, %clk, %enable reset %rst, %2 {name = "count"} : i4' in text


def test_wires_leave_no_trace():
    c = Circuit("wires")
    first, second = c.wire("first", 2), c.wire("second", 2)
    c.output("y", first)
    c.output("z", ~first)
    first.drive(second)
    second.drive(c.input("x", 2))
    text = str(circuit_module_of(c))
    assert "first" not in text
    assert "hw.output %x, %" in text


def circuit_module_of(c: Circuit):
    c.finish()
    module = circuit_module(c)
    module.verify()
    return module


def test_slices_extensions_and_constants():
    c = Circuit("bits")
    x = c.input("x", 8)
    assert x[0].width == 1
    assert x[2:5].width == 3
    assert x[:8] is x
    assert x.zext(8) is x
    assert x.sext(12).width == 12
    assert concat(x, x[0]).width == 9
    assert mux(x[0], 0, x).width == 8
    assert x.replicate(3).width == 24
    assert c.const(-1, 8).value is c.const(255, 8).value
    assert x.any().width == x.all().width == x.eq(1).width == 1
    c.output("y", x + 1)
    circuit_module_of(c)


def test_each_circuit_appears_once_and_leaves_come_first():
    leaf = counter()
    top = Circuit("top")
    clk, rst, enable = top.clock("clk"), top.input("rst", 1), top.input("enable", 1)
    outs = [top.instance(f"c{i}", leaf, clk=clk, rst=rst, enable=enable)["value"] for i in range(2)]
    top.output("sum", outs[0] + outs[1])
    text = str(circuit_module_of(top))
    assert text.count("hw.module @counter") == 1
    assert text.index("@counter(") < text.index("@top(")


def build(body: str) -> None:
    """Run a snippet over a circuit `c` with inputs x (8 bits) and e (1 bit), then finish."""
    c = Circuit("top")
    clk = c.clock("clk")
    scope = {"c": c, "clk": clk, "x": c.input("x", 8), "e": c.input("e", 1), "counter": counter}
    scope |= {"mux": mux, "Circuit": Circuit}
    exec(body, scope)
    c.finish()
    circuit_module(c)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("x + e", "top: 'x' of 8 bits meets 'e' of 1"),
        ("x + 256", "top: 256 does not fit 8 bits"),
        ("x[8]", "top: 'x' of 8 bits has no bits 8:9"),
        ("x[3:3]", "has no bits 3:3"),
        ("x.zext(7)", "'x' of 8 bits cannot be extended to 7"),
        ("mux(x, x, 0)", "a mux needs a condition of one bit"),
        ("mux(e, 1, 0)", "a mux of two numbers has no width"),
        ("c.register('r', 2)", "top: nothing drives register 'r'"),
        ("c.wire('w', 2)", "top: nothing drives wire 'w'"),
        ("w = c.wire('w', 2); w.drive(w)", "top: nothing drives wire 'w'"),
        ("r = c.delay(x, 'r'); r.drive(x)", "register 'r' is driven twice"),
        ("w = c.wire('w', 8); w.drive(x); w.drive(x)", "wire 'w' is driven twice"),
        ("c.delay(x, 'r', enable=x)", "an enable has one bit, not 8"),
        ("c.register('r', 2, reset=0)", "register 'r' has a reset, the circuit none"),
        ("c.input('x', 1)", "two ports called 'x'"),
        ("c.output('x', x)", "two ports called 'x'"),
        ("c.memory('m', 4, 8)", "memory 'm' lacks a port"),
        ("c.memory('m', 4, 8).read(x, e, 'r')", "'m' has addresses of 2 bits, not 8"),
        ("c.memory('m', 4, 9).write(x[:2], x, e)", "'m' has rows of 9 bits, not 8"),
        (
            "m = c.memory('m', 4, 8); m.write(x[:2], x, e); m.write(x[:2], x, e)",
            "memory 'm' is written twice",
        ),
        ("x + Circuit('d').input('y', 8)", "top: 'y' belongs to another circuit"),
        ("mux(Circuit('d').input('s', 1), x, x)", "d: 'x' belongs to another circuit"),
        ("c.output('y', Circuit('d').input('z', 8))", "top: 'z' belongs to another circuit"),
        ("c.wire('w', 8).drive(Circuit('d').input('z', 8))", "'z' belongs to another circuit"),
        ("c.memory('m', 4, 8).read(Circuit('d').input('z', 2), e, 'r')", "'z' belongs to another"),
        (
            "c.instance('i', counter(), clk=Circuit('d').clock('k'), rst=e, enable=e)",
            "top: 'k' belongs to another circuit",
        ),
        ("c.finish()", "top: finished twice"),
        ("c.instance('i', Circuit('leaf'))", "leaf: used before it is finished"),
        ("c.instance('i', counter(), clk=clk, rst=e)", "instance 'i' of counter: ports enable"),
        ("c.instance('i', counter(), clk=clk, rst=e, enable=x)", "enable is i1, not i8"),
        (
            "[c.instance(n, counter(), clk=clk, rst=e, enable=e) for n in 'ab']",
            "two different circuits are called 'counter'",
        ),
    ],
)
def test_mistakes_are_named(body: str, message: str):
    with pytest.raises(CircuitError, match=message.replace("[", r"\[")):
        build(body)


def test_a_circuit_without_a_clock_has_no_registers():
    c = Circuit("combinational")
    c.delay(c.input("x", 1), "r")
    with pytest.raises(CircuitError, match="combinational: has no clock"):
        c.finish()
