"""An LSTM from scratch: from one gate at a time to ``fastlstm.LSTM``, the numbers checked.

Run it with ``python examples/from_scratch.py`` and read it from top to bottom beside its output.
The equations are those of Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000.
"""

import torch
from torch import Tensor

import fastlstm

# Time steps, sequences in the batch, features of the input, units.
T, B, I, H = 7, 3, 5, 6  # noqa: E741


def show(name: str, value: Tensor, meaning: str = "") -> None:
    print(f"   {name:<28}{tuple(value.shape)!s:<13}{meaning}".rstrip())


def check(what: str, one: Tensor, other: Tensor) -> None:
    difference = (one - other).abs().max().item()
    assert one.shape == other.shape and difference < 1e-12, f"{what}: differ by {difference}"
    print(f"   {what:<41}max difference {difference:.1e}  agree")


torch.manual_seed(1997)
torch.set_default_dtype(torch.float64)  # so that "agree" can mean twelve digits
x = torch.randn(T, B, I, requires_grad=True)  # time first, as in torch.nn.LSTM

print(f"An LSTM from scratch: T = {T} steps, B = {B} sequences, I = {I} features, H = {H} units")

print("\n1. One step, one gate at a time\n")
# The memory of an LSTM is its cell c. Three gates, each between 0 and 1, say for every unit what
# to write to the cell, what to keep of it and what to show of it; the candidate, between -1 and
# 1, is what could be written. Each of the four reads [h, x]: what the cell showed after the last
# step, beside what comes in now. So each is a linear layer, and one line.
input_gate, forget_gate, candidate, output_gate = (torch.nn.Linear(H + I, H) for _ in range(4))


def step(x_t: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
    hx = torch.cat([h, x_t], dim=-1)  #     [h, x]
    i = torch.sigmoid(input_gate(hx))  #    i  = σ(W_i x + R_i h + b_i)
    f = torch.sigmoid(forget_gate(hx))  #   f  = σ(W_f x + R_f h + b_f)
    g = torch.tanh(candidate(hx))  #        g  = tanh(W_g x + R_g h + b_g)
    o = torch.sigmoid(output_gate(hx))  #   o  = σ(W_o x + R_o h + b_o)
    c = f * c + i * g  #                    c' = f ⊙ c + i ⊙ g
    h = o * torch.tanh(c)  #                h' = o ⊙ tanh(c')
    return h, c, (i, f, g, o)


zeros = torch.zeros(B, H)  # nothing remembered yet, so nothing to show
h_1, c_1, gates = step(x[0], h=zeros, c=zeros)

show("x", x[0], "one time step of the batch")
show("h, c", zeros, "the state: zeros at first")
show("[h, x]", torch.cat([zeros, x[0]], dim=-1), "what every gate reads")
equations = "i = σ(W_i x + R_i h + b_i)", "f = σ(…)", "g = tanh(…)", "o = σ(…)"
meanings = "input gate: what to write", "forget gate: what to keep", "candidate", "output gate"
for equation, gate, meaning in zip(equations, gates, meanings, strict=True):
    show(equation, gate, meaning)
show("c' = f ⊙ c + i ⊙ g", c_1, "the new cell")
show("h' = o ⊙ tanh(c')", h_1, "the new hidden state, the output")

print("\n2. A loop over time\n")
h, c = zeros, zeros
outputs, forget_gates = [], []
for x_t in x:
    h, c, (_, f, _, _) = step(x_t, h, c)
    outputs.append(h)
    forget_gates.append(f)
by_hand, h_by_hand, c_by_hand = torch.stack(outputs), h, c

show("x", x, "the sequences")
show("output", by_hand, "h after every step")
show("h_n, c_n", h_by_hand, "the state after the last step")

print("\n3. The same weights in fastlstm.LSTMCell\n")
# Four small products are one large one: stack the four layers in PyTorch's order i, f, g, o. The
# first H columns of each multiply h, the others x; PyTorch keeps the two apart, as weight_hh and
# weight_ih. Each of those has a bias, because cuDNN wants it so. Only their sum enters the
# equations: put ours in one and zeros in the other.
four = [input_gate, forget_gate, candidate, output_gate]
weight = torch.cat([layer.weight for layer in four]).detach()
bias = torch.cat([layer.bias for layer in four]).detach()
weights = {
    "weight_ih": weight[:, H:],  # W: (4·H, I)
    "weight_hh": weight[:, :H],  # R: (4·H, H)
    "bias_ih": bias,
    "bias_hh": torch.zeros_like(bias),
}
cell = fastlstm.LSTMCell(I, H)
cell.load_state_dict(weights)

h, c = zeros, zeros
outputs = []
for x_t in x:
    h, c = cell(x_t, (h, c))
    outputs.append(h)
by_cell = torch.stack(outputs)

show("one Linear's weight", input_gate.weight, "[R_i, W_i], on [h, x]")
show("weight_ih", cell.weight_ih, "W_i, W_f, W_g, W_o")
show("weight_hh", cell.weight_hh, "R_i, R_f, R_g, R_o")
show("bias_ih, bias_hh", cell.bias_ih, "b_i, b_f, b_g, b_o; zeros")
check("output: LSTMCell, by hand", by_cell, by_hand)
check("h_n:    LSTMCell, by hand", h, h_by_hand)
check("c_n:    LSTMCell, by hand", c, c_by_hand)

print("\n4. The whole sequence in one call: fastlstm.LSTM\n")
# A layer of an LSTM is a cell and its loop over time; _l0 says which layer.
lstm = fastlstm.LSTM(I, H)
lstm.load_state_dict({f"{name}_l0": value for name, value in weights.items()})
output, (h_n, c_n) = lstm(x)

theirs = torch.nn.LSTM(I, H)
theirs.load_state_dict(lstm.state_dict())

show("output", output, "of the last layer, at every step")
show("h_n, c_n", h_n, "of every layer: here, of one")
check("output: LSTM, by hand", output, by_hand)
check("output: LSTM, LSTMCell", output, by_cell)
check("output: LSTM, torch.nn.LSTM", output, theirs(x)[0])
check("h_n:    LSTM, by hand", h_n[0], h_by_hand)
check("c_n:    LSTM, by hand", c_n[0], c_by_hand)

print("\n5. The gradients\n")
loss_weights = torch.randn(T, B, H)  # any loss will do


def gradients(outputs: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
    return torch.autograd.grad((outputs * loss_weights).sum(), inputs)


of_the_four = [layer.weight for layer in four] + [layer.bias for layer in four]
d_x_by_hand, *d_of_the_four = gradients(by_hand, x, *of_the_four)
d_weight, d_bias = torch.cat(d_of_the_four[:4]), torch.cat(d_of_the_four[4:])
# In the order of PyTorch's parameters. Both biases stand in the same sum: the same gradient.
d_by_hand = [d_x_by_hand, d_weight[:, H:], d_weight[:, :H], d_bias, d_bias]

d_ours = gradients(output, x, *lstm.parameters())
d_theirs = gradients(theirs(x)[0], x, *theirs.parameters())
names = ["dx", *(f"d{name.removesuffix('_l0')}" for name, _ in lstm.named_parameters())]
show("dx", d_ours[0], "through all time steps")
for other, d_other in ("by hand", d_by_hand), ("torch.nn.LSTM", d_theirs):
    for name, d_one, d_two in zip(names, d_ours, d_other, strict=True):
        check(f"{name + ':':<12}LSTM, {other}", d_one, d_two)

print("\n6. What torch.nn.LSTM cannot do\n")
# Look inside: every gate and state of every step.
traced = lstm.trace(x).layers[0]
check("forget gate: trace, by hand", traced.forget_gate, torch.stack(forget_gates))

# Switch on a variant, and give sequences of different lengths as they are: not sorted, not
# packed. Not even NaN in the padding reaches a result.
lengths = torch.tensor([4, T, 2])
padding = torch.arange(T).unsqueeze(-1) >= lengths  # (T, B)
ragged = x.detach().masked_fill(padding.unsqueeze(-1), torch.nan)
variant = fastlstm.LSTM(I, H, peephole=True, layer_norm=True, forget_bias=1.0)
output, _, (traced,) = variant.trace(ragged, lengths=lengths)
alone, _ = variant(x[:4, 0])

print(f"\n   {variant}\n   lengths {lengths.tolist()}; its forget gate, mean over the units:\n")
for b, length in enumerate(lengths.tolist()):
    kept = traced.forget_gate[:length, b].mean(dim=-1)
    print(f"   sequence {b}   " + " ".join([f"{f:.2f}" for f in kept] + ["   ·"] * (T - length)))
print()
check("sequence 0: in the batch, alone", output[:4, 0], alone)
