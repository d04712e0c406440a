"""``fastlstm.LSTM``: ``torch.nn.LSTM``, complete, with the variants that it lacks."""

from typing import Any

import torch
from torch import Tensor
from torch.fx import Proxy
from torch.nn.utils.rnn import PackedSequence

from fastlstm.nn import cudnn_weights, functional, inputs, plain
from fastlstm.nn.dynamo import allow_in_dynamo
from fastlstm.nn.exchange import scriptable
from fastlstm.nn.fx import as_leaf
from fastlstm.nn.initialization import add_switch_parameters, initialize
from fastlstm.nn.parameters import LayerParameters, field_of, shapes_of
from fastlstm.nn.stack import States, run_stack
from fastlstm.nn.switches import (
    Switches,
    check_change,
    check_flag,
    check_number,
    check_residual,
    make_switches,
    switches_on,
    warn_about_locked_dropout,
)
from fastlstm.nn.trace import Trace, make_trace


class LSTM(torch.nn.LSTM):
    """A long short-term memory over sequences: a ``torch.nn.LSTM`` with more in it.

    The arguments up to ``dtype`` are those of ``torch.nn.LSTM``, as are the parameters, their
    names, order and initial values, the ``state_dict``, and the results::

        i = σ(W_i x + R_i h + b_i)    f = σ(W_f x + R_f h + b_f)    g = tanh(W_g x + R_g h + b_g)
        c' = f ⊙ c + i ⊙ g            o = σ(W_o x + R_o h + b_o)    h' = o ⊙ tanh(c')

    (Hochreiter & Schmidhuber 1997; forget gate: Gers et al. 2000). The keyword-only switches can
    be combined freely; one that is off costs nothing. ``T`` is the number of time steps, ``B``
    the batch, ``I`` the input size, ``H`` the hidden size, ``R`` the projection's size or else
    ``H``, ``L`` the layers, ``D`` the directions, ``G`` the gates: 4, or 3 if coupled.

    Args:
        input_size: ``I``.
        hidden_size: ``H``.
        num_layers: ``L``.
        bias: whether there are biases.
        batch_first: inputs and outputs are (B, T, ·) in place of (T, B, ·).
        dropout: the rate of dropout after each layer but the last, in training.
        bidirectional: ``D = 2``: a second scan from the last step to the first.
        proj_size: h' = W_hr (o ⊙ tanh c') of this width; 0: no projection (Sak et al. 2014).
        device: where the parameters are.
        dtype: the parameters' floating-point dtype.
        peephole: i and f see c through p_i ⊙ c and p_f ⊙ c, and o sees c' through p_o ⊙ c' (Gers
            & Schmidhuber 2000; Graves 2013). Parameter ``weight_peephole_l[k]`` (3, H): p_i, p_f,
            p_o; (2, H), without p_i, if coupled.
        layer_norm: LN(W x) and LN(R h), over all gates together and each with a gain, and LN(c')
            with a gain and (with ``bias``) a bias before the output's tanh (Ba et al. 2016, eq.
            20-22; the biases of the first two are ``bias_ih`` and ``bias_hh``). Parameters
            ``norm_ih_l[k]``, ``norm_hh_l[k]`` (G·H), ``norm_cell_l[k]``, ``norm_cell_bias_l[k]``
            (H).
        coupled_gates: i = 1 - f (CIFG; Greff et al. 2015). The weights have the rows of f, g, o
            alone: (3·H, ·).
        recurrent_dropout: the rate of a mask on h, before R, that is one for the whole sequence
            (Gal & Ghahramani 2016).
        weight_dropout: the rate of DropConnect on R, one mask for each forward (Merity et al.
            2018).
        locked_dropout: the rate of a mask after each layer but the last that is one for all time
            steps (Merity et al. 2018).
        zoneout: the rate at which units of c and h keep their last value, one for both or a pair
            (cell, hidden); when not training they mix in that proportion (Krueger et al. 2017).
        cell_clip: c' is clipped to ± this (Sak et al. 2014).
        residual: a layer's input is added to its output where both have the same width: in every
            layer but the first, and there if ``I = D·R`` (Wu et al. 2016).
        forget_bias: the initial b_f, ``bias_ih + bias_hh`` (Jozefowicz et al. 2015).
        checkpoint_every: keep only every k-th state for the backward pass and recompute the rest
            there.

    Raises:
        TypeError, ValueError: an argument of the wrong type or out of its range.
    """

    # Off, in a layer that `fastlstm.replace` made of a `torch.nn.LSTM` as in one made here.
    peephole: bool = False
    layer_norm: bool = False
    coupled_gates: bool = False
    recurrent_dropout: float = 0.0
    weight_dropout: float = 0.0
    locked_dropout: float = 0.0
    zoneout: tuple[float, float] = (0.0, 0.0)
    cell_clip: float | None = None
    residual: bool = False
    forget_bias: float | None = None
    checkpoint_every: int | None = None

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: torch.dtype | None = None,
        *,
        peephole: bool = False,
        layer_norm: bool = False,
        coupled_gates: bool = False,
        recurrent_dropout: float = 0.0,
        weight_dropout: float = 0.0,
        locked_dropout: float = 0.0,
        zoneout: float | tuple[float, float] = 0.0,
        cell_clip: float | None = None,
        residual: bool = False,
        forget_bias: float | None = None,
        checkpoint_every: int | None = None,
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            proj_size,
            device,
            dtype,
        )
        switches = make_switches(
            coupled_gates=coupled_gates,
            dropout=dropout,
            recurrent_dropout=recurrent_dropout,
            weight_dropout=weight_dropout,
            locked_dropout=locked_dropout,
            zoneout=zoneout,
            cell_clip=cell_clip,
            residual=residual,
            checkpoint_every=checkpoint_every,
        )
        self.__dict__.update(
            switches._asdict(),
            peephole=check_flag("peephole", peephole),
            layer_norm=check_flag("layer_norm", layer_norm),
            forget_bias=check_number("forget_bias", forget_bias),
        )
        if self.forget_bias is not None and not bias:
            raise ValueError(f"forget_bias={forget_bias} sets a bias, but bias=False")
        width = (proj_size or hidden_size) * (2 if bidirectional else 1)
        check_residual(residual, input_size, width, num_layers)
        warn_about_locked_dropout(switches.locked_dropout, num_layers)
        self._add_switch_parameters(device, dtype)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, check_change(self, name, value))

    def _add_switch_parameters(self, device: Any, dtype: torch.dtype | None) -> None:
        suffixes = [names[0].removeprefix("weight_ih") for names in self._all_weights]
        added = add_switch_parameters(self, suffixes, device, dtype)
        for suffix, names in zip(suffixes, self._all_weights, strict=True):
            names.extend(name for name in added if name.endswith(suffix))
        # `torch.nn.LSTM` keeps its own list of the parameters, for `all_weights` and pickling.
        self._flat_weights_names = [name for names in self._all_weights for name in names]
        self._init_flat_weights()

    def reset_parameters(self) -> None:
        """Give every parameter a new initial value, the first ones as ``torch.nn.LSTM`` does."""
        initialize(self, dict(self.named_parameters()))

    def flatten_parameters(self) -> None:
        """Move the parameters to where cuDNN can use them as they lie, as ``torch.nn.LSTM`` does.

        PyTorch calls it when the layer is made, moved or cast. Nothing happens where there is no
        cuDNN, in a layer with parameters that it does not know, nor to parameters that share their
        memory with other tensors.
        """
        cudnn_weights.move(self)

    @property
    def _switches(self) -> Switches:
        return Switches(
            self.coupled_gates,
            self.dropout,
            self.recurrent_dropout,
            self.weight_dropout,
            self.locked_dropout,
            self.zoneout,
            self.cell_clip,
            self.residual,
            self.checkpoint_every,
        )

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    def _is_plain(self) -> bool:
        """Whether a call is that of a ``torch.nn.LSTM`` in one direction, with nothing to draw."""
        changes_a_step = (
            self.peephole
            or self.layer_norm
            or self.coupled_gates
            or self.proj_size
            or self.cell_clip
            or self.zoneout != (0.0, 0.0)
        )
        masks = self.dropout or self.recurrent_dropout or self.weight_dropout or self.locked_dropout
        around_a_layer = self.bidirectional or self.residual or (self.training and masks)
        as_it_is = type(self).layer_parameters is LSTM.layer_parameters
        return as_it_is and not (changes_a_step or around_a_layer)

    def layer_parameters(self) -> list[LayerParameters]:
        """The parameters of each layer and direction, as ``fastlstm.lstm`` takes them.

        They are read by name at each call, so that a parametrization or ``functional_call`` is
        seen.
        """
        return [
            LayerParameters(**{field_of(name): getattr(self, name) for name in names})
            for names in self._all_weights
        ]

    def forward(  # type: ignore[override]
        self,
        input: Tensor | PackedSequence,
        hx: States | None = None,
        *,
        lengths: Tensor | None = None,
        reset: Tensor | None = None,
        reset_state: States | None = None,
    ) -> tuple[Tensor | PackedSequence, States]:
        """Run all layers over all time steps.

        Args:
            input: (T, B, I), (B, T, I) with ``batch_first``, (T, I) without a batch, or a
                ``PackedSequence``.
            hx: the initial ``(h_0, c_0)``, (L·D, B, R) and (L·D, B, H), without B if the input
                has none; zeros if None.
            lengths: (B) integers in 0..T, on the input's device or the CPU, in any order: how
                many steps of each row are real. The output past them is zero, ``h_n`` and ``c_n``
                are those of each row's last real step (its initial state, if it has none), the
                backward direction starts at each row's own end, and what stands in the padding,
                NaN included, reaches no result and no gradient.
            reset: bool, of the input's time and batch dimensions; (T, B), rows in the user's order,
                beside a ``PackedSequence``. True at t is a boundary between
                t - 1 and t that no state crosses: the forward direction sets its state before it
                reads t, and the backward direction, coming from the end, before it reads t - 1.
            reset_state: ``(h, c)``, the states that a reset sets, shaped like ``hx`` or with one
                row for all; zeros if None.

        Returns:
            ``(output, (h_n, c_n))``: the last layer's hidden states (T, B, D·R), laid out as the
            input, and the final states of every layer, shaped like ``hx``.

        Raises:
            RuntimeError: a size, device or dtype of the states, or the input's features, do not
                fit.
            ValueError: the input's number of dimensions or dtype, or ``lengths`` or ``reset`` do
                not fit.
            TypeError: an argument is of the wrong type.
        """
        if isinstance(input, Proxy):
            return as_leaf(self, input, hx, lengths=lengths, reset=reset, reset_state=reset_state)
        if lengths is None and reset is None and reset_state is None:
            found = plain.run_layers(self, input, hx, has_steps=True)
            if found is not None:
                return found
        return functional.run(
            input,
            hx,
            self.layer_parameters(),
            self._directions,
            self._switches,
            self.training,
            self.batch_first,
            lengths,
            reset,
            reset_state,
        )

    def trace(
        self,
        input: Tensor,
        hx: States | None = None,
        *,
        lengths: Tensor | None = None,
        reset: Tensor | None = None,
        reset_state: States | None = None,
    ) -> Trace:
        """Run like ``forward`` and return every gate, cell and hidden state as well.

        Args:
            input: as in ``forward``, but not packed.
            hx: as in ``forward``.
            lengths: as in ``forward``.
            reset: as in ``forward``.
            reset_state: as in ``forward``.

        Returns:
            A ``Trace``: ``output``, ``final`` and ``layers``, one ``LayerTrace`` for each layer
            and direction. All of it is differentiable.

        Raises:
            RuntimeError, ValueError, TypeError: as ``forward``.
        """
        inputs.refuse_packed(input, "trace")
        parameters, switches = self.layer_parameters(), self._switches
        shapes = shapes_of(parameters, self._directions, switches)
        sequences, layout = inputs.prepare(
            input,
            hx,
            shapes,
            parameters[0].weight_ih.dtype,
            self.batch_first,
            lengths,
            reset,
            reset_state,
        )
        result = run_stack(
            sequences, parameters, self._directions, switches, self.training, keep_everything=True
        )
        return make_trace(result, layout, self.coupled_gates, sequences.lengths)

    def step(self, x_t: Tensor, state: States | None = None) -> tuple[Tensor, States]:
        """Run one time step: ``forward`` over a whole sequence, a step at a time.

        Args:
            x_t: (B, I) or (I).
            state: ``(h, c)`` as the last step returned it, (L, B, R) and (L, B, H), without B if
                the input has none; zeros if None.

        Returns:
            ``(y_t, state)``: the last layer's output (B, R), and the state to give the next step.

        Raises:
            RuntimeError: the layer is bidirectional, or it is training with a dropout whose mask
                belongs to a whole sequence (which a step cannot know); or as ``forward``.
            ValueError, TypeError: as ``forward``.
        """
        if self.bidirectional:
            raise RuntimeError("step: a bidirectional LSTM needs the whole sequence, not one step")
        for name in ("recurrent_dropout", "weight_dropout", "locked_dropout"):
            if self.training and getattr(self, name):
                raise RuntimeError(
                    f"step: {name} draws one mask for a whole sequence, which steps taken one by "
                    "one cannot share; call .eval() or run the sequence through forward"
                )
        found = plain.run_layers(self, x_t, state, has_steps=False)
        if found is not None:
            return found
        inputs.check_step(x_t, state)
        output, state = functional.run_padded(
            x_t.unsqueeze(0),
            state,
            self.layer_parameters(),
            1,
            self._switches,
            self.training,
            batch_first=False,
        )
        return output.squeeze(0), state

    def __prepare_scriptable__(self) -> torch.nn.LSTM:
        """Have ``torch.jit.script`` compile a ``torch.nn.LSTM`` with the same parameters."""
        return scriptable(self, LSTM.__base__)

    def extra_repr(self) -> str:
        """What ``torch.nn.LSTM`` shows, and the switches that are on."""
        return ", ".join([super().extra_repr(), *switches_on(self)])


allow_in_dynamo(LSTM)
