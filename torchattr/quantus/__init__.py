"""Quantus' names and signatures for the metrics of :mod:`torchattr.evaluate`."""

from __future__ import annotations

from typing import Any as _Any

from torchattr.quantus.axiomatic import Completeness as Completeness
from torchattr.quantus.axiomatic import InputInvariance as InputInvariance
from torchattr.quantus.axiomatic import NonSensitivity as NonSensitivity
from torchattr.quantus.complexity import Complexity as Complexity
from torchattr.quantus.complexity import EffectiveComplexity as EffectiveComplexity
from torchattr.quantus.complexity import Sparseness as Sparseness
from torchattr.quantus.elsewhere import refuse as _refuse
from torchattr.quantus.explain import explain as explain
from torchattr.quantus.faithfulness import IROF as IROF
from torchattr.quantus.faithfulness import ROAD as ROAD
from torchattr.quantus.faithfulness import FaithfulnessCorrelation as FaithfulnessCorrelation
from torchattr.quantus.faithfulness import FaithfulnessEstimate as FaithfulnessEstimate
from torchattr.quantus.faithfulness import Infidelity as Infidelity
from torchattr.quantus.faithfulness import Monotonicity as Monotonicity
from torchattr.quantus.faithfulness import MonotonicityCorrelation as MonotonicityCorrelation
from torchattr.quantus.faithfulness import PixelFlipping as PixelFlipping
from torchattr.quantus.faithfulness import RegionPerturbation as RegionPerturbation
from torchattr.quantus.faithfulness import Selectivity as Selectivity
from torchattr.quantus.faithfulness import SensitivityN as SensitivityN
from torchattr.quantus.faithfulness import Sufficiency as Sufficiency
from torchattr.quantus.localisation import AUC as AUC
from torchattr.quantus.localisation import AttributionLocalisation as AttributionLocalisation
from torchattr.quantus.localisation import Focus as Focus
from torchattr.quantus.localisation import PointingGame as PointingGame
from torchattr.quantus.localisation import RelevanceMassAccuracy as RelevanceMassAccuracy
from torchattr.quantus.localisation import RelevanceRankAccuracy as RelevanceRankAccuracy
from torchattr.quantus.localisation import TopKIntersection as TopKIntersection
from torchattr.quantus.metric import Metric as Metric
from torchattr.quantus.randomisation import MPRT as MPRT
from torchattr.quantus.randomisation import EfficientMPRT as EfficientMPRT
from torchattr.quantus.randomisation import RandomLogit as RandomLogit
from torchattr.quantus.randomisation import SmoothMPRT as SmoothMPRT
from torchattr.quantus.robustness import AvgSensitivity as AvgSensitivity
from torchattr.quantus.robustness import Consistency as Consistency
from torchattr.quantus.robustness import Continuity as Continuity
from torchattr.quantus.robustness import LocalLipschitzEstimate as LocalLipschitzEstimate
from torchattr.quantus.robustness import MaxSensitivity as MaxSensitivity
from torchattr.quantus.robustness import RelativeInputStability as RelativeInputStability
from torchattr.quantus.robustness import RelativeOutputStability as RelativeOutputStability
from torchattr.quantus.robustness import (
    RelativeRepresentationStability as RelativeRepresentationStability,
)


def __getattr__(name: str) -> _Any:
    _refuse(name, [one for one in globals() if not one.startswith("_")])
