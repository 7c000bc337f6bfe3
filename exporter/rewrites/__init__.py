"""Rewrites that make a program convertible without changing its results, in execution order."""

from __future__ import annotations

from segexport.errors import InputError
from segexport.exporter.program import Program
from segexport.exporter.rewrites.activations import ActivationsToArithmetic
from segexport.exporter.rewrites.adaptive_max_pool import AdaptiveMaxPoolToWindows
from segexport.exporter.rewrites.adaptive_pool import AdaptivePoolOfComputedBins, AdaptivePoolToMatmul
from segexport.exporter.rewrites.affine_grid import AffineGridToMatmul
from segexport.exporter.rewrites.along_axis import PutAlongAxisToScatter, TakeAlongAxisToGather
from segexport.exporter.rewrites.any_all import AnyAllToReduction
from segexport.exporter.rewrites.arg_min import ArgMinToArgMax
from segexport.exporter.rewrites.atan2 import Atan2ToAtan
from segexport.exporter.rewrites.base import LITE, LITE_ARM, LITE_X86, ONNX, Rewrite, Target
from segexport.exporter.rewrites.batch_norm_apart import BatchNormApart
from segexport.exporter.rewrites.bias_form import OneFormOfBias
from segexport.exporter.rewrites.bicubic import BicubicToMatmul
from segexport.exporter.rewrites.bitwise import BitwiseOfMasks
from segexport.exporter.rewrites.bmm import BmmToMatmul
from segexport.exporter.rewrites.boolean_constants import BooleanConstants
from segexport.exporter.rewrites.boolean_mask import BooleanMask
from segexport.exporter.rewrites.broadcast_axis import AxesBehindTheNarrower
from segexport.exporter.rewrites.broadcast_tensors import BroadcastTensors
from segexport.exporter.rewrites.byte_casts import NoByteCasts
from segexport.exporter.rewrites.channel_order import ChannelOrderToReshape
from segexport.exporter.rewrites.channels_last import ChannelsFirst
from segexport.exporter.rewrites.class_nms import ClassNmsToSharedNms
from segexport.exporter.rewrites.comparison import (
    ComparisonAttributes,
    ComparisonOfEqualRanks,
    ComparisonOfRowAndColumn,
)
from segexport.exporter.rewrites.computed_filter import ComputedFilterToProducts
from segexport.exporter.rewrites.constant_arguments import ConstantArguments
from segexport.exporter.rewrites.crop import CropToSlice
from segexport.exporter.rewrites.cumsum import CumsumToPlain
from segexport.exporter.rewrites.deformable import DeformableConvMask, DeformableConvToGrid
from segexport.exporter.rewrites.diag import DiagonalToWhere
from segexport.exporter.rewrites.dot import DotToSum
from segexport.exporter.rewrites.einsum import EinsumOfOneOperand, EinsumToMatmul
from segexport.exporter.rewrites.expand_as import ExpandAsOfFreeSize, ExpandAsToExpand
from segexport.exporter.rewrites.finite import FiniteToComparison
from segexport.exporter.rewrites.flatten import FlattenXShape
from segexport.exporter.rewrites.flip import FlipOfFreeAxis
from segexport.exporter.rewrites.fold import FoldToTransposedConvolution
from segexport.exporter.rewrites.fold_constants import FoldConstants
from segexport.exporter.rewrites.fpn_levels import FpnLevelsToIndices
from segexport.exporter.rewrites.frobenius import FrobeniusNormToReduction
from segexport.exporter.rewrites.gather import GatherByList
from segexport.exporter.rewrites.group_norm import GroupNormOfImages
from segexport.exporter.rewrites.index_put import IndexPutToWhere
from segexport.exporter.rewrites.index_select import IndexSelectToGather
from segexport.exporter.rewrites.int32_mask import Int32Mask
from segexport.exporter.rewrites.integers import FloorDivision, IntegersAsFloats, ScaleOfIntegers
from segexport.exporter.rewrites.lerp import LerpToArithmetic
from segexport.exporter.rewrites.linear_interp import LinearInterpToBilinear
from segexport.exporter.rewrites.linspace import LinspaceToRange
from segexport.exporter.rewrites.logsumexp import LogsumexpToReductions
from segexport.exporter.rewrites.mask_moves import MovesOfMasks
from segexport.exporter.rewrites.normalization import NormalizationDefaults
from segexport.exporter.rewrites.p_norm import PNormToReduction
from segexport.exporter.rewrites.pads import CircularPadToConcat, PadInTwoDimensions
from segexport.exporter.rewrites.pool3d import Pool3dToPool2d
from segexport.exporter.rewrites.pool_indices import MaxPoolWithoutIndices
from segexport.exporter.rewrites.pool_windows import CountedZeros
from segexport.exporter.rewrites.powers import PowerToProduct
from segexport.exporter.rewrites.proposals import ProposalsToNms
from segexport.exporter.rewrites.reduce_everything import ReductionOfEverything
from segexport.exporter.rewrites.reduce_names import AmaxToMax
from segexport.exporter.rewrites.reduction_type import CastBeforeReduction
from segexport.exporter.rewrites.reductions import ReductionsOfFewAxes
from segexport.exporter.rewrites.relu6 import Relu6Threshold
from segexport.exporter.rewrites.repeat import RepeatToConcat
from segexport.exporter.rewrites.resize import OldResizeToSize, ResizeByFactor, ResizeToMatmul
from segexport.exporter.rewrites.roi_align import RoiAlignOfOwnSamples, RoiAlignOfShiftedBoxes
from segexport.exporter.rewrites.roll import RollOfFreeAxis, RollWithinAxis
from segexport.exporter.rewrites.same_padding import ExplicitPadding
from segexport.exporter.rewrites.scale_apart import ScaleApart
from segexport.exporter.rewrites.scatter import ScatterOfSums
from segexport.exporter.rewrites.set_value import SetValueAttributes
from segexport.exporter.rewrites.set_value_axes import SetValueOfOneAxis
from segexport.exporter.rewrites.shape_tensor import ShapeTensorInt32
from segexport.exporter.rewrites.shrink import ShrinkOfWholeSteps
from segexport.exporter.rewrites.size import SizeToProduct
from segexport.exporter.rewrites.small_bias import SmallBiasToSum
from segexport.exporter.rewrites.strided_slice import StridedSliceForwards, StridedSliceOfFreeAxis
from segexport.exporter.rewrites.swish import SwishBeta
from segexport.exporter.rewrites.tile import TileOfEveryAxis
from segexport.exporter.rewrites.top_k import TopKOfLastAxis
from segexport.exporter.rewrites.transposed_conv import TransposedConvPadding, TransposedConvSlice
from segexport.exporter.rewrites.unbind import UnbindToUnstack
from segexport.exporter.rewrites.unfold import UnfoldToConvolution
from segexport.exporter.rewrites.unpool import UnpoolToArithmetic
from segexport.exporter.rewrites.unsupported_ops import KnownFaults
from segexport.exporter.rewrites.x86_twin import TwinOperators
from segexport.exporter.rewrites.zero_dim import ZeroDimConstants

REWRITES: tuple[Rewrite, ...] = (
    FoldConstants(),
    ConstantArguments(),
    BooleanConstants(),
    AmaxToMax(),
    ReductionOfEverything(),
    FrobeniusNormToReduction(),
    SizeToProduct(),
    ShapeTensorInt32(),
    ChannelsFirst(),
    BroadcastTensors(),
    AxesBehindTheNarrower(),
    EinsumToMatmul(),
    EinsumOfOneOperand(),
    DotToSum(),
    CumsumToPlain(),
    UnpoolToArithmetic(),
    MaxPoolWithoutIndices(),
    StridedSliceOfFreeAxis(),
    StridedSliceForwards(),
    FlipOfFreeAxis(),
    RollWithinAxis(),
    RollOfFreeAxis(),
    LinspaceToRange(),
    TileOfEveryAxis(),
    DiagonalToWhere(),
    UnfoldToConvolution(),
    FoldToTransposedConvolution(),
    AffineGridToMatmul(),
    LerpToArithmetic(),
    Atan2ToAtan(),
    RepeatToConcat(),
    BitwiseOfMasks(),
    AnyAllToReduction(),
    ArgMinToArgMax(),
    MovesOfMasks(),
    CropToSlice(),
    RoiAlignOfOwnSamples(),
    RoiAlignOfShiftedBoxes(),
    *(DeformableConvToGrid(targets) for targets in (frozenset({ONNX}), LITE)),
    DeformableConvMask(),
    ExplicitPadding(),
    ComputedFilterToProducts(),
    TransposedConvSlice(),
    TransposedConvPadding(),
    AdaptivePoolToMatmul(),
    AdaptivePoolOfComputedBins(),
    AdaptiveMaxPoolToWindows(),
    ProposalsToNms(),
    FpnLevelsToIndices(),
    ClassNmsToSharedNms(),
    GatherByList(),
    PNormToReduction(),
    Pool3dToPool2d(),
    FiniteToComparison(),
    *(ActivationsToArithmetic(target) for target in (ONNX, LITE_ARM, LITE_X86)),
    NormalizationDefaults(),
    BatchNormApart(),
    GroupNormOfImages(),
    ChannelOrderToReshape(),
    SwishBeta(),
    PowerToProduct(),
    LogsumexpToReductions(),
    CastBeforeReduction(),
    ReductionsOfFewAxes(),
    *(ExpandAsToExpand(targets) for targets in (frozenset({ONNX}), LITE)),
    ExpandAsOfFreeSize(),
    TakeAlongAxisToGather(),
    PutAlongAxisToScatter(),
    ScatterOfSums(),
    UnbindToUnstack(),
    IndexSelectToGather(),
    TopKOfLastAxis(),
    ResizeByFactor(),
    OldResizeToSize(),
    LinearInterpToBilinear(),
    *(ResizeToMatmul(targets) for targets in (frozenset({ONNX}), LITE)),
    ShrinkOfWholeSteps(),
    BicubicToMatmul(),
    CircularPadToConcat(),
    PadInTwoDimensions(),
    CountedZeros(),
    BooleanMask(),
    BmmToMatmul(),
    OneFormOfBias(),
    TwinOperators(),
    IndexPutToWhere(),
    SetValueOfOneAxis(),
    SetValueAttributes(),
    ZeroDimConstants(),
    ComparisonOfEqualRanks(),
    ComparisonOfRowAndColumn(),
    *(IntegersAsFloats(target) for target in (ONNX, LITE_ARM, LITE_X86)),
    ScaleOfIntegers(),
    FloorDivision(),
    Relu6Threshold(),
    ComparisonAttributes(),
    FlattenXShape(),
    ScaleApart(),
    SmallBiasToSum(),
    Int32Mask(),
    NoByteCasts(),
    *(KnownFaults(target) for target in (ONNX, LITE_ARM, LITE_X86)),
)


def rewrite_for(target: Target, program: Program, *more: Rewrite) -> tuple[Program, list[str]]:
    """Applies all rewrites that an export needs.

    Args:
        target: Name of the converter that reads the program next; if no rewrite lists it, only `more` applies.
        program: Not modified.
        more: Additional rewrites for this export, applied after the others.

    Returns:
        The rewritten copy, and one lineage note per change.

    Raises:
        UnsupportedModelError: The export would compute wrong results and no rewrite fixes it; names the operator.
        InputError: An operator lacks an input or attribute that Paddle always writes.
    """
    changed, notes = program.copy(), []
    for rewrite in (*REWRITES, *more):
        if target in rewrite.targets:
            made = _applied(rewrite, changed)
            notes += [f"{rewrite.name} {rewrite.version}: {note}" for note in made]
    if notes:
        changed.prune()
        changed.verify("the rewritten program")
    return changed, notes


def _applied(rewrite: Rewrite, program: Program) -> list[str]:
    """Applies one rewrite; a missing input or attribute means a damaged file, because Paddle always writes them."""
    try:
        return rewrite.apply(program) if rewrite.applies(program) else []
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise InputError(
            f"{rewrite.name}: an operator lacks what Paddle always writes",
            cause=f"{type(error).__name__}: {error}",
            hint="export the model again; if it is sound, this is a fault of segexport's",
        ) from error
