from tests.kernels.cases import LENGTHS, Case, integers, normal

CASES = [
    case
    for n in LENGTHS
    for case in (
        Case("relu", f"{n}", normal((n,)), integers=integers((n,))),
        Case("relu_backward", f"{n}", normal((n,), (n,)), integers=integers((n,), (n,))),
    )
]
