"""Recurrent layers as dynamical systems: Jacobians, Lyapunov exponents, fixed points; how far models are from data."""

from .exponents import lyapunov
from .found import FixedPoints
from .jacobian import step_jacobian
from .measures import spectral_distance, state_space_divergence
from .points import fixed_points
from .spectrum import LyapunovSpectrum

__all__ = [
    "FixedPoints",
    "LyapunovSpectrum",
    "fixed_points",
    "lyapunov",
    "spectral_distance",
    "state_space_divergence",
    "step_jacobian",
]
