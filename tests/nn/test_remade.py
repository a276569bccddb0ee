"""What a backward pass makes again is what was there, to the bit; and it is not kept."""

import weakref

import pytest
import torch
import torch.nn.functional as F

from genzoo.models.autoregressive.pixelcnnpp import _Gated, concat_elu
from genzoo.nn.remade import Room, dropout, remade, remade_gelu


def grads(out, *of):
    return torch.autograd.grad(out.square().sum(), of)


def kept(make_loss):
    """Bytes that autograd keeps of a loss, each piece of memory once."""
    found = {}

    def put(t):
        found[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(put, lambda t: t):
        make_loss()
    return sum(found.values())


def test_a_remade_input_gives_the_same_bits():
    torch.manual_seed(0)
    norm, dense = torch.nn.LayerNorm(8), torch.nn.Linear(8, 5)
    x = torch.randn(3, 4, 8, requires_grad=True)
    weights = (x, *norm.parameters(), *dense.parameters())
    plain, made = dense(norm(x)), remade(norm, x, dense)
    assert torch.equal(plain, made)
    assert all(torch.equal(a, b) for a, b in zip(grads(plain, *weights), grads(made, *weights), strict=True))


def test_a_remade_input_is_gone_until_it_is_needed():
    dense, seen, x = torch.nn.Linear(8, 5), [], torch.randn(3, 8, requires_grad=True)

    def make(x):
        y = F.gelu(x)
        seen.append(weakref.ref(y))
        return y

    out = remade(make, x, dense)
    assert seen[0]() is None
    assert len(seen) == 1
    grads(out, x, dense.weight)
    assert len(seen) == 2
    with torch.no_grad():
        assert torch.equal(remade(make, x, dense), out)


def test_layers_that_share_a_room_give_the_same_bits():
    torch.manual_seed(0)
    layers, x = torch.nn.ModuleList(torch.nn.Linear(8, 8) for _ in range(3)), torch.randn(3, 4, 8, requires_grad=True)
    found = {}
    for room in (None, Room()):
        y = x
        for layer in layers:
            y = remade_gelu(y, layer, room) if room else layer(F.gelu(y))
        found[room is None] = [y, *grads(y, x, *layers.parameters())]
    assert all(torch.equal(a, b) for a, b in zip(*found.values(), strict=True))
    assert room.block.shape == x.shape
    with torch.no_grad():
        assert torch.equal(remade_gelu(x, layers[0], room), layers[0](F.gelu(x)))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_dropout_drops_what_torchs_own_does_and_keeps_a_byte_a_value(layout):
    x = torch.randn(4, 6, 8, 8).contiguous(memory_format=layout).requires_grad_()
    made = []
    for drop in (lambda: F.dropout(x, 0.3, True), lambda: dropout(x, 0.3)):
        torch.manual_seed(1)
        out = drop()
        made.append((out, *grads(out, x), torch.get_rng_state()))
    assert all(torch.equal(a, b) for a, b in zip(*made, strict=True))
    assert kept(lambda: dropout(x, 0.3)) == x.numel()
    assert dropout(x, 0.0) is x


def test_both_elus_are_those_of_both_signs():
    x = torch.randn(2, 3, 5, 4, dtype=torch.float64).contiguous(memory_format=torch.channels_last).requires_grad_()
    plain = F.elu(torch.cat([x, -x], 1))
    assert torch.equal(concat_elu(x), plain)
    torch.testing.assert_close(grads(concat_elu(x), x), grads(plain, x), rtol=1e-14, atol=0)
    torch.manual_seed(2)
    want = F.dropout(F.elu(torch.cat([x, -x], 1)), 0.4, True)
    torch.manual_seed(2)
    got = concat_elu(x, 0.4, (1, 2, 3, 0))
    assert torch.equal(got, F.pad(want, (1, 2, 3, 0)))
    torch.testing.assert_close(grads(got, x), grads(want, x), rtol=1e-14, atol=0)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_both_elus_keep_their_bits_near_zero_and_the_order_of_their_input(layout):
    x = torch.cat([torch.randn(2, 4, 32, 32), 1e-4 * torch.randn(2, 4, 32, 32), torch.zeros(2, 4, 1, 32)], 2)
    x = x.contiguous(memory_format=layout)
    both = concat_elu(x)
    assert torch.equal(both, F.elu(torch.cat([x, -x], 1)))
    assert both.is_contiguous(memory_format=layout)


def test_a_gate_keeps_its_two_halves_alone():
    x, both = torch.randn(2, 3, 5, 4, requires_grad=True), torch.randn(2, 6, 5, 4, requires_grad=True)
    a, b = both.chunk(2, 1)
    plain, gated = x + a * torch.sigmoid(b.clone()), _Gated.apply(x, both)
    assert torch.equal(plain, gated)
    assert all(torch.equal(p, q) for p, q in zip(grads(plain, x, both), grads(gated, x, both), strict=True))
    assert kept(lambda: _Gated.apply(x, both)) == both.nbytes
