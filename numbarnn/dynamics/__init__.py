"""Recurrent layers as dynamical systems: Jacobians of steps, Lyapunov exponents, fixed points."""

from .exponents import lyapunov
from .found import FixedPoints
from .jacobian import step_jacobian
from .points import fixed_points
from .spectrum import LyapunovSpectrum

__all__ = ["FixedPoints", "LyapunovSpectrum", "fixed_points", "lyapunov", "step_jacobian"]
