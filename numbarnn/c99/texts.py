"""The three files: header, source, and the Fortran module that binds it."""

import zlib

from .literals import comment
from .source import indented

HEADER = """\
{about}
{unchanged}
#ifndef {upper}_NUMBARNN_H
#define {upper}_NUMBARNN_H

#include <stddef.h>
{includes}
#define {upper}_INPUT {inputs} /* numbers of x at a step */
#define {upper}_OUTPUT {outputs} /* numbers of y at a step */
{sizes}#define {upper}_EXPORT 0x{export:08x}u /* the same in {name}.c: they belong together */

#ifdef __cplusplus
extern "C" {{
#endif

/* What is carried from step to step: the caller's, one for each sequence.  {name}_reset makes it ready. */
typedef struct {name}_state {{
{fields}
}} {name}_state;

/* Let a sequence begin. */
void {name}_reset({name}_state *state);

/* Take a step: y[{upper}_OUTPUT] from x[{upper}_INPUT].  Where both have as many numbers, y may be x.{returns} */
{kind} {name}_step({name}_state *state, const {input} *x, {real} *y);

/* Take steps, as so many calls of {name}_step: y[steps][{upper}_OUTPUT] from x[steps][{upper}_INPUT].{returns} */
{kind} {name}_run({name}_state *state, const {input} *x, {real} *y, size_t steps);

#ifdef __cplusplus
}}
#endif

#endif
"""

SOURCE = """\
{about}
{unchanged}
#include "{name}.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#if {upper}_EXPORT != 0x{export:08x}u
#error "{name}.c and {name}.h are of two exports: take both of one"
#endif
#if defined(__FAST_MATH__) || defined(_M_FP_FAST)
#error "{name}.c: expected to be compiled without -ffast-math or /fp:fast, which changes the sums that it relies on"
#endif
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("no-trapping-math") /* else gcc makes no vectors of a loop that chooses between two numbers */
#endif
#if defined(__cplusplus) || defined(_MSC_VER)
#define {upper}_RESTRICT __restrict
#else
#define {upper}_RESTRICT restrict
#endif
#ifdef __clang__
#define {upper}_APART __attribute__((noinline)) /* else clang makes no vectors of the loop over units behind a product */
#else
#define {upper}_APART
#endif
#ifdef {fast_fma}
#define {upper}_FMA(a, b, c) {fma}(a, b, c)
#else
#define {upper}_FMA(a, b, c) ((a) * (b) + (c))
#endif

{definitions}
void {name}_reset({name}_state *state)
{{
{reset}
}}

{step}
"""

STEP = """\
{static}void {name}_{advance}({name}_state *state, const {input} *x, {real} *y)
{{
{statements}
    for (int j = 0; j < {upper}_OUTPUT; j++)
        y[j] = {output}[j];
}}
"""

RUN = """\
void {name}_run({name}_state *state, const {input} *x, {real} *y, size_t steps)
{{
    for (size_t t = 0; t < steps; t++)
        {name}_step(state, x + t * {upper}_INPUT, y + t * {upper}_OUTPUT);
}}"""

CHECKED = """\
int {name}_step({name}_state *state, const int32_t *x, {real} *y)
{{
    return {name}_run(state, x, y, 1);
}}

int {name}_run({name}_state *state, const int32_t *x, {real} *y, size_t steps)
{{
    for (size_t t = 0; t < steps; t++)
        if (x[t] < 0 || x[t] >= {upper}_VOCABULARY)
            return 1;
    for (size_t t = 0; t < steps; t++)
        {name}_advance(state, x + t, y + t * {upper}_OUTPUT);
    return 0;
}}"""

RETURNS = "\n   Returns 0; or 1, and state and y are as before, if an x is no index from 0 to {upper}_VOCABULARY - 1."

FORTRAN = """\
! {about}
! It binds {name}.c, which is compiled beside it.
module {name}
  use, intrinsic :: iso_c_binding, only: {kinds}
  implicit none
  private
  public :: {name}_state, {name}_reset, {name}_step, {name}_run

  integer, parameter, public :: {name}_input = {inputs}, {name}_output = {outputs}
{sizes}
  ! What is carried from step to step: one for each sequence.  {name}_reset makes it ready.
  type, bind(c) :: {name}_state
{fields}
  end type {name}_state

  interface
    ! Let a sequence begin.
    subroutine {name}_reset(state) bind(c, name="{name}_reset")
      import :: {name}_state
      type({name}_state), intent(out) :: state
    end subroutine {name}_reset

    ! Take a step.{returns}
    {procedure} {name}_step(state, x, y) bind(c, name="{name}_step"){result}
      import :: {imported}
      type({name}_state), intent(inout) :: state
      {input}, intent(in) :: x({name}_input)
      real({real}), intent(out) :: y({name}_output){declared}
    end {procedure} {name}_step

    ! Take steps, as so many calls of {name}_step.
    {procedure} {name}_run(state, x, y, steps) bind(c, name="{name}_run"){result}
      import :: {imported}, c_size_t
      type({name}_state), intent(inout) :: state
      integer(c_size_t), value, intent(in) :: steps
      {input}, intent(in) :: x({name}_input, steps)
      real({real}), intent(out) :: y({name}_output, steps){declared}
    end {procedure} {name}_run
  end interface
end module {name}
"""


def texts(source, about, inputs, vocabulary=None):
    """{ending: text} of the files of a Source that all layers are written into.

    Parameters
    ----------
    source : Source
    about : str
        What the network is, in a line.
    inputs : int
        Numbers of x at a step.
    vocabulary : int, optional
        Of a network that takes indices.
    """
    name, real = source.name, source.real
    common = {
        "name": name, "upper": name.upper(), "real": real.name, "inputs": inputs, "outputs": source.channels,
        "about": f"{name}: {about}",
        "unchanged": comment("Written by numbarnn: export again in the place of changing it."),
    }  # fmt: skip
    definitions = "\n".join([*source.functions(), *source.definitions])
    body = definitions + "\n".join([*source.step, *(initial.tobytes().hex() for _, initial in source.states)])
    common["export"] = zlib.crc32(f"{body} {source.states} {common}".encode())
    return {
        "h": _header(source, common, vocabulary),
        "c": _source(source, common, definitions, vocabulary),
        "f90": _fortran(source, common, vocabulary),
    }


def _header(source, common, vocabulary):
    fields = [f"{source.real.name} {field}[{len(initial)}];" for field, initial in source.states]
    indices = vocabulary is not None
    return HEADER.format(
        **common | {"about": comment(common["about"])},
        includes="#include <stdint.h>\n" if indices else "",
        sizes=f"#define {common['upper']}_VOCABULARY {vocabulary} /* x is an index below it */\n" if indices else "",
        fields="\n".join(indented(fields or ["char unused; /* no layer has a state */"])),
        returns=RETURNS.format(**common) if indices else "",
        kind="int" if indices else "void", input="int32_t" if indices else source.real.name,
    )  # fmt: skip


def _source(source, common, definitions, vocabulary):
    indices = vocabulary is not None
    reset = []
    for field, initial in source.states:
        if initial.any():
            start = source.real.array(f"{source.name}_{field}_initial", initial.astype(source.real.dtype))
            definitions += f"\n{start}"
            reset.append(f"memcpy(state->{field}, {source.name}_{field}_initial, sizeof state->{field});")
        else:
            reset.append(f"memset(state->{field}, 0, sizeof state->{field});")
    unused = [] if source.states else ["(void)state;"]
    statements = [*unused, *source.step]
    step = STEP.format(
        **common, static="static " if indices else "", advance="advance" if indices else "step",
        input="int32_t" if indices else source.real.name, statements="\n".join(indented(statements)), output=source.output,
    )  # fmt: skip
    run = (CHECKED if indices else RUN).format(**common, input=source.real.name)
    suffix = source.real.suffix
    return SOURCE.format(
        **common | {"about": comment(common["about"])},
        fast_fma=f"FP_FAST_FMA{suffix.upper()}", fma=f"fma{suffix}", definitions=definitions,
        reset="\n".join(indented(unused or reset)) , step=f"{step}\n{run}",
    )  # fmt: skip


def _fortran(source, common, vocabulary):
    name, indices = source.name, vocabulary is not None
    real = "c_float" if source.real.suffix else "c_double"
    kinds = [real, "c_size_t", *(["c_int", "c_int32_t"] if indices else []), *([] if source.states else ["c_char"])]
    fields = [f"real({real}) :: {field}({len(initial)})" for field, initial in source.states]
    fields = fields or ["character(kind=c_char) :: unused"]
    imported = [f"{name}_state", f"{name}_input", f"{name}_output", real, *(["c_int", "c_int32_t"] if indices else [])]
    about = common["about"].encode("ascii", "backslashreplace").decode()
    return FORTRAN.format(
        **common | {"real": real, "about": about[:120]},
        kinds=", ".join(kinds), imported=", ".join(imported),
        sizes=f"  integer, parameter, public :: {name}_vocabulary = {vocabulary}\n" if indices else "",
        fields="\n".join(indented(fields, 1)),
        returns=f"\n    ! Returns 0; or 1, and state and y are as before, if an x is no index below {name}_vocabulary."
        if indices else "",
        procedure="function" if indices else "subroutine", result=" result(wrong)" if indices else "",
        input="integer(c_int32_t)" if indices else f"real({real})",
        declared="\n      integer(c_int) :: wrong" if indices else "",
    )  # fmt: skip
