"""What a network may be called in C, C++ and Fortran."""

import re

LONGEST = 48  # of the 63 characters that Fortran allows a name
VALID = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
KEYWORDS = """
    auto break case char const continue default do double else enum extern float for goto if inline int long register
    restrict return short signed sizeof static struct switch typedef union unsigned void volatile while
    alignas alignof bool constexpr false nullptr static_assert thread_local true typeof
    and and_eq asm bitand bitor catch char8_t char16_t char32_t class co_await co_return co_yield compl concept const_cast
    consteval constinit decltype delete dynamic_cast explicit export friend mutable namespace new noexcept not not_eq
    operator or or_eq private protected public reinterpret_cast requires static_cast template this throw try typeid typename
    using virtual wchar_t xor xor_eq main linux unix
""".split()
HEADERS = """
    assert complex ctype errno fenv float inttypes iso646 limits locale math setjmp signal stdalign stdarg stdatomic stdbool
    stddef stdint stdio stdlib stdnoreturn string tgmath threads time uchar wchar wctype
    iso_c_binding iso_fortran_env ieee_arithmetic ieee_exceptions ieee_features
""".split()


def checked_name(name):
    """`name`, if files, functions and a module may be called so; else TypeError or ValueError."""
    expected = f"a name of C and Fortran, a letter and then letters, digits and _, at most {LONGEST}"
    if not isinstance(name, str):
        raise TypeError(f"name: expected {expected}, got {name!r} ({type(name).__name__})")
    if not VALID.fullmatch(name) or len(name) > LONGEST:
        raise ValueError(f"name: expected {expected}, got {name!r}")
    if name.lower() in KEYWORDS:
        raise ValueError(f"name: expected a name that C and C++ leave free, got {name!r}, a word of theirs")
    if name.lower() in HEADERS:
        raise ValueError(
            f"name: expected a name that is no standard header's or module's, which {name}.h would hide, got {name!r}"
        )
    return name
