"""The table of operators: how each operator of Paddle 3 is written in a legacy program (grammar: `rule_grammar`)."""

from __future__ import annotations

from segexport.exporter.pir.rule_grammar import Rule

# -- words that many rules share -------------------------------------------------------------------------------

_CONV = "strides:INTS paddings:INTS padding_algorithm:STRING dilations:INTS groups:INT data_format:STRING"
_CONV_TRANSPOSE = f"{_CONV} output_padding:INTS"
_POOL = (
    "strides:INTS paddings:INTS ceil_mode:BOOLEAN exclusive:BOOLEAN data_format:STRING pooling_type:STRING "
    "global_pooling:BOOLEAN adaptive:BOOLEAN padding_algorithm:STRING"
)
_INTERP = (
    "data_format>data_layout:STRING out_d:INT out_h:INT out_w:INT scale:FLOATS interp_method:STRING "
    "align_corners:BOOLEAN align_mode:INT"
)
_SIZES = "shape:LONGS|ShapeTensor|ShapeTensorList*"
_COMPARE = "+axis:INT=-1 +force_cpu:BOOLEAN=false"


def _same(names: str) -> dict[str, Rule]:
    """Rules of operators with one tensor, the same name and no attributes."""
    return {name: Rule(name) for name in names.split()}


def _pairs(names: str, attrs: str = "") -> dict[str, Rule]:
    """Rules of operators with two tensors; `new>legacy` if the name changed."""
    renamed = (name.partition(">") for name in names.split())
    return {new: Rule(legacy or new, "X Y", "Out", attrs) for new, _, legacy in renamed}


RULES: dict[str, Rule] = {
    # convolutions, pooling, resizing
    "conv2d": Rule("conv2d", "Input Filter", "Output", _CONV),
    "conv3d": Rule("conv3d", "Input Filter", "Output", _CONV),
    "depthwise_conv2d": Rule("depthwise_conv2d", "Input Filter", "Output", _CONV),
    "conv2d_transpose": Rule("conv2d_transpose", "Input Filter output_size:INTS", "Output", _CONV_TRANSPOSE),
    "depthwise_conv2d_transpose": Rule(
        "depthwise_conv2d_transpose", "Input Filter output_size:INTS", "Output", _CONV_TRANSPOSE
    ),
    "pool2d": Rule("pool2d", "X ksize:INTS|VARS", "Out", _POOL),
    "pool3d": Rule("pool3d", "X", "Out", f"kernel_size>ksize:INTS {_POOL}"),
    "max_pool2d_with_index": Rule(
        "max_pool2d_with_index",
        "X",
        "Out Mask",
        "kernel_size>ksize:INTS strides:INTS paddings:INTS global_pooling:BOOLEAN adaptive:BOOLEAN ceil_mode=false",
    ),
    "unpool": Rule(
        "unpool",
        "X Indices output_size:INTS",
        "Out",
        'ksize:INTS strides:INTS padding>paddings:INTS data_format:STRING +unpooling_type:STRING="max"',
    ),
    **{
        f"{kind}_interp": Rule(f"{kind}_interp_v2", "X OutSize!int32? SizeTensor*!int32? Scale?", "Out", _INTERP)
        for kind in ("nearest", "linear", "bilinear", "bicubic", "trilinear")
    },
    "grid_sample": Rule("grid_sampler", "X Grid", "Output", "mode:STRING padding_mode:STRING align_corners:BOOLEAN"),
    "affine_grid": Rule("affine_grid", "Theta output_shape:INTS|OutputShape", "Output", "align_corners:BOOLEAN"),
    "pixel_shuffle": Rule("pixel_shuffle", attrs="upscale_factor:INT data_format:STRING"),
    "pixel_unshuffle": Rule("pixel_unshuffle", attrs="downscale_factor:INT data_format:STRING"),
    "temporal_shift": Rule("temporal_shift", attrs="seg_num:INT shift_ratio:FLOAT data_format:STRING"),
    "unfold": Rule("unfold", "X", "Y", "kernel_sizes:INTS strides:INTS paddings:INTS dilations:INTS"),
    "fold": Rule("fold", "X", "Y", "output_sizes:INTS kernel_sizes:INTS strides:INTS paddings:INTS dilations:INTS"),
    # normalizations (batch_norm is in `special`)
    "layer_norm": Rule("layer_norm", "X Scale? Bias?", "Y Mean Variance", "epsilon:FLOAT begin_norm_axis:INT"),
    "group_norm": Rule(
        "group_norm", "X Scale? Bias?", "Y Mean Variance", "epsilon:FLOAT groups:INT data_format>data_layout:STRING"
    ),
    "instance_norm": Rule("instance_norm", "X Scale? Bias?", "Y SavedMean SavedVariance", "epsilon:FLOAT"),
    "p_norm": Rule("p_norm", "X", "Out", "porder:FLOAT axis:INT epsilon:FLOAT keepdim:BOOLEAN asvector:BOOLEAN"),
    # activations
    **_same("relu relu6 sigmoid tanh silu softsign tanh_shrink logsigmoid"),
    "gelu": Rule("gelu", attrs="approximate:BOOLEAN"),
    "swish": Rule("swish", attrs="+beta:FLOAT=1.0"),
    "mish": Rule("mish", attrs="lambda>threshold:FLOAT"),
    "elu": Rule("elu", attrs="alpha:FLOAT"),
    "celu": Rule("celu", attrs="alpha:FLOAT"),
    "selu": Rule("selu", attrs="scale:FLOAT alpha:FLOAT"),
    "softplus": Rule("softplus", attrs="beta:FLOAT threshold:FLOAT"),
    "softshrink": Rule("softshrink", attrs="threshold>lambda:FLOAT"),
    "hardshrink": Rule("hard_shrink", attrs="threshold:FLOAT"),
    "hardswish": Rule("hard_swish", attrs="+threshold:FLOAT=6.0 +scale:FLOAT=6.0 +offset:FLOAT=3.0"),
    "hardsigmoid": Rule("hard_sigmoid", attrs="slope:FLOAT offset:FLOAT"),
    "hardtanh": Rule("brelu", attrs="t_min:FLOAT t_max:FLOAT"),
    "leaky_relu": Rule("leaky_relu", attrs="negative_slope>alpha:FLOAT"),
    "thresholded_relu": Rule("thresholded_relu", attrs="threshold:FLOAT value=0.0"),
    "prelu": Rule("prelu", "X Alpha", "Out", "data_format:STRING mode:STRING"),
    "softmax": Rule("softmax", attrs="axis:INT"),
    "log_softmax": Rule("log_softmax", attrs="axis:INT"),
    "maxout": Rule("maxout", attrs="groups:INT axis:INT"),
    "rrelu": Rule("rrelu", "X", "Out Noise", "lower:FLOAT upper:FLOAT is_test:BOOLEAN"),
    "stanh": Rule("stanh", attrs="scale_a:FLOAT scale_b:FLOAT"),
    "dropout": Rule(
        "dropout",
        "X - dropout_prob:FLOAT",
        "Out Mask",
        "is_test:BOOLEAN mode>dropout_implementation:STRING seed fix_seed",
    ),
    # element by element
    **_pairs(
        "add>elementwise_add subtract>elementwise_sub multiply>elementwise_mul divide>elementwise_div "
        "maximum>elementwise_max minimum>elementwise_min elementwise_pow floor_divide>elementwise_floordiv "
        "remainder>elementwise_mod",
        "+axis:INT=-1",
    ),
    **_pairs("equal not_equal less_than less_equal greater_than greater_equal", _COMPARE),
    **_pairs("fmax>elementwise_fmax fmin>elementwise_fmin logical_and logical_or logical_xor"),
    **_pairs("bitwise_and bitwise_or bitwise_xor kron"),
    "equal_all": Rule("equal_all", "X Y", "Out:bool"),
    "atan2": Rule("atan2", "X1 X2"),
    "lerp": Rule("lerp", "X Y Weight"),
    "where": Rule("where", "Condition X Y"),
    "add_n": Rule("sum", "X*"),
    **_same("exp expm1 log log2 log10 log1p sqrt rsqrt square abs floor ceil sign reciprocal trunc logical_not"),
    **_same("sin cos tan asin acos atan sinh cosh asinh acosh atanh erf erfinv bitwise_not"),
    "isnan": Rule("isnan_v2"),
    "isinf": Rule("isinf_v2"),
    "isfinite": Rule("isfinite_v2"),
    "round": Rule("round", attrs="decimals=0"),  # Paddle 3 rounds exact halves to the even number
    "logit": Rule("logit", attrs="eps:FLOAT"),
    "pow": Rule("pow", attrs="y>factor:FLOAT"),
    "scale": Rule("scale", "X scale:FLOAT|ScaleTensor", "Out", "bias:FLOAT bias_after_scale:BOOLEAN"),
    "clip": Rule("clip", "X min:FLOAT|Min max:FLOAT|Max"),
    "label_smooth": Rule("label_smooth", "X PriorDist?", "Out", "epsilon:FLOAT"),
    # products
    "matmul": Rule("matmul_v2", "X Y", "Out", "transpose_x>trans_x:BOOLEAN transpose_y>trans_y:BOOLEAN"),
    "bmm": Rule("bmm", "X Y"),
    "mv": Rule("mv", "X Vec"),
    "dot": Rule("dot", "X Y"),
    "addmm": Rule("addmm", "Input X Y", "Out", "alpha>Alpha:FLOAT beta>Beta:FLOAT"),
    "cross": Rule("cross", "X Y", "Out", "axis>dim:INT"),
    "einsum": Rule("einsum", "Operands*", "Out - -", "equation:STRING"),
    "bilinear": Rule("bilinear_tensor_product", "X Y Weight Bias?"),
    # recurrent layers
    "rnn": Rule(
        "rnn",
        "Input PreState* WeightList* SequenceLength? -?",
        "Out DropoutState State* Reserve",
        "dropout_prob:FLOAT is_bidirec:BOOLEAN input_size:INT hidden_size:INT num_layers:INT mode:STRING seed:INT "
        "is_test:BOOLEAN",
    ),
    # shapes (those of one size are in `special`)
    "reshape": Rule("reshape2", "X shape:INTS|Shape|ShapeTensor*", "Out +XShape"),
    "transpose": Rule("transpose2", "X", "Out +XShape", "perm>axis:INTS"),
    "flatten": Rule("flatten_contiguous_range", "X", "Out +XShape", "start_axis:INT stop_axis:INT"),
    "squeeze": Rule("squeeze2", "X axes:INTS", "Out +XShape"),
    "unsqueeze": Rule("unsqueeze2", "X axes:INTS|AxesTensor|AxesTensorList*", "Out +XShape"),
    "expand": Rule("expand_v2", "X shape:INTS|Shape|expand_shapes_tensor*"),
    "expand_as": Rule("expand_as_v2", "X Y?", "Out", "target_shape:INTS"),
    "tile": Rule("tile", "X repeat_times:INTS|RepeatTimes|repeat_times_tensor*"),
    "broadcast_tensors": Rule("broadcast_tensors", "X*", "Out*"),
    "meshgrid": Rule("meshgrid", "X*", "Out*"),
    "concat": Rule("concat", "X* axis:INT|AxisTensor"),
    "stack": Rule("stack", "X*", "Y", "axis:INT"),
    "unstack": Rule("unstack", "X", "Y*", "axis:INT num:INT"),
    "unbind": Rule("unbind", "X", "Out*", "axis:INT"),
    "split": Rule("split", "X sections:INTS||SectionsTensorList* axis:INT|AxisTensor", "Out*", "+num:INT=0"),
    "split_with_num": Rule("split", "X axis:INT|AxisTensor", "Out*", "num:INT +sections:INTS=[]"),
    "roll": Rule("roll", "X shifts:LONGS|ShiftsTensor", "Out", "axis:LONGS"),
    "flip": Rule("flip", attrs="axis:INTS"),
    "tril": Rule("tril_triu", attrs="diagonal:INT +lower:BOOLEAN=true"),
    "triu": Rule("tril_triu", attrs="diagonal:INT +lower:BOOLEAN=false"),
    "diag": Rule("diag_v2", attrs="offset:INT padding_value:FLOAT"),
    "diagonal": Rule("diagonal", "Input", "Out", "offset:INT axis1:INT axis2:INT"),
    "crop": Rule("crop_tensor", "X shape:INTS|Shape|ShapeTensor* offsets:INTS|Offsets|OffsetsTensor*"),
    "pad": Rule("pad", "X pad_value:FLOAT", "Out", "paddings:INTS"),
    "pad3d": Rule("pad3d", "X paddings:INTS|Paddings", "Out", "mode:STRING pad_value>value:FLOAT data_format:STRING"),
    "slice": Rule(
        "slice",
        "Input starts:BOUNDS|StartsTensor|StartsTensorList* ends:BOUNDS|EndsTensor|EndsTensorList*",
        "Out",
        "axes:INTS infer_flags:INTS decrease_axis:INTS",
    ),
    "channel_shuffle": Rule("shuffle_channel", attrs='groups>group:INT data_format="NCHW"'),
    "repeat_interleave": Rule("repeat_interleave", attrs="repeats>Repeats:INT axis>dim:INT output_size=-1"),
    # choosing elements
    "gather": Rule("gather", "X Index axis:INT|Axis"),
    "gather_nd": Rule("gather_nd", "X Index"),
    "index_select": Rule("index_select", "X Index", "Out", "axis>dim:INT"),
    "index_sample": Rule("index_sample", "X Index"),
    "index_add": Rule("index_add", "X Index AddValue", "Out", "axis:INT"),
    "take_along_axis": Rule("take_along_axis", "Input Index", "Result", "axis>Axis:INT"),
    "put_along_axis": Rule(
        "put_along_axis",
        "Input Index Value",
        "Result",
        "axis>Axis:INT reduce>Reduce:STRING include_self>Include_self:BOOLEAN",
    ),
    "scatter": Rule("scatter", "X Ids Updates", "Out", "overwrite:BOOLEAN"),
    "scatter_nd_add": Rule("scatter_nd_add", "X Index Updates"),
    "masked_select": Rule("masked_select", "X Mask", "Y"),
    "nonzero": Rule("where_index", "Condition"),
    "embedding": Rule("lookup_table_v2", "Ids W", "Out", "padding_idx:LONG sparse"),
    "topk": Rule("top_k_v2", "X k:INT|K", "Out Indices", "axis:INT largest:BOOLEAN sorted:BOOLEAN"),
    "argsort": Rule("argsort", "X", "Out Indices", "axis:INT descending:BOOLEAN stable"),
    "argmax": Rule("arg_max", "X axis:LONG", "Out", "keepdims:BOOLEAN flatten:BOOLEAN dtype:DTYPE"),
    "argmin": Rule("arg_min", "X axis:LONG", "Out", "keepdims:BOOLEAN flatten:BOOLEAN dtype:DTYPE"),
    "kthvalue": Rule("kthvalue", "X", "Out Indices", "k:INT axis:INT keepdim:BOOLEAN"),
    "mode": Rule("mode", "X", "Out Indices", "axis:INT keepdim:BOOLEAN"),
    "searchsorted": Rule("searchsorted", "SortedSequence Values", "Out", "out_int32:BOOLEAN right:BOOLEAN"),
    "multiplex": Rule("multiplex", "X* Ids"),
    # along an axis (reductions are in `special`)
    "cumsum": Rule("cumsum", "X axis:INT", "Out", "flatten:BOOLEAN exclusive:BOOLEAN reverse:BOOLEAN"),
    "cumprod": Rule("cumprod", "X", "Out", "dim:INT exclusive=false reverse=false"),
    "logcumsumexp": Rule("logcumsumexp", "X", "Out", "axis:INT flatten:BOOLEAN exclusive:BOOLEAN reverse:BOOLEAN"),
    "cummax": Rule("cummax", "x", "out indices", "axis:INT dtype:DTYPE"),
    "cummin": Rule("cummin", "x", "out indices", "axis:INT dtype:DTYPE"),
    "trace": Rule("trace", "Input", "Out", "offset:INT axis1:INT axis2:INT"),
    "dist": Rule("dist", "X Y", "Out", "p:FLOAT"),
    # random numbers; every import replaces or refuses them (`mends.random_draws`)
    "uniform": Rule("uniform_random", f"{_SIZES} min:FLOAT max:FLOAT", "Out", "dtype:DTYPE seed:INT place"),
    "gaussian": Rule("gaussian_random", _SIZES, "Out", "mean:FLOAT std:FLOAT seed:INT dtype:DTYPE place"),
    "randint": Rule("randint", _SIZES, "Out", "low:INT high:INT dtype:DTYPE place"),
    "randperm": Rule("randperm", "", "Out", "n:INT dtype:DTYPE place"),
    "multinomial": Rule("multinomial", "X num_samples:INT", "Out", "replacement:BOOLEAN"),
    **_same("bernoulli poisson"),
    # created tensors, copies
    "full_like": Rule("fill_any_like", "X value:FLOAT", "Out", "dtype:DTYPE place"),
    "eye": Rule("eye", "num_rows:LONG num_columns:LONG", "Out", "dtype:DTYPE place"),
    "tril_indices": Rule("tril_indices", "", "out", "rows:INT cols:INT offset:INT dtype:DTYPE"),
    "assign": Rule("assign"),
    "share_data": Rule("assign"),
    "assign_out_": Rule("assign", "X -"),
    "numel": Rule("size", "Input"),
    # detection
    "roi_align": Rule(
        "roi_align",
        "X ROIs RoisNum?",
        "Out",
        "pooled_height:INT pooled_width:INT spatial_scale:FLOAT sampling_ratio:INT aligned:BOOLEAN",
    ),
    "roi_pool": Rule(
        "roi_pool",
        "X ROIs RoisNum?",
        "Out Argmax",
        "pooled_height:INT pooled_width:INT spatial_scale:FLOAT",
    ),
    "nms": Rule("nms", "Boxes", "KeepBoxesIdxs", "threshold>iou_threshold:FLOAT"),
    "box_coder": Rule(
        "box_coder",
        "PriorBox PriorBoxVar? TargetBox",
        "OutputBox",
        "code_type:STRING box_normalized:BOOLEAN axis:INT variance:FLOATS",
    ),
    "prior_box": Rule(
        "prior_box",
        "Input Image",
        "Boxes Variances",
        "min_sizes:FLOATS max_sizes:FLOATS aspect_ratios:FLOATS variances:FLOATS flip:BOOLEAN clip:BOOLEAN "
        "step_w:FLOAT step_h:FLOAT offset:FLOAT min_max_aspect_ratios_order:BOOLEAN",
    ),
    "yolo_box": Rule(
        "yolo_box",
        "X ImgSize",
        "Boxes Scores",
        "anchors:INTS class_num:INT conf_thresh:FLOAT downsample_ratio:INT clip_bbox:BOOLEAN scale_x_y:FLOAT "
        "iou_aware:BOOLEAN iou_aware_factor:FLOAT",
    ),
    "matrix_nms": Rule(
        "matrix_nms",
        "BBoxes Scores",
        "Out Index RoisNum",
        "score_threshold:FLOAT nms_top_k:INT keep_top_k:INT post_threshold:FLOAT use_gaussian:BOOLEAN "
        "gaussian_sigma:FLOAT background_label:INT normalized:BOOLEAN",
    ),
    "multiclass_nms3": Rule(
        "multiclass_nms3",
        "BBoxes Scores RoisNum?",
        "Out Index NmsRoisNum",
        "score_threshold:FLOAT nms_top_k:INT keep_top_k:INT nms_threshold:FLOAT normalized:BOOLEAN nms_eta:FLOAT "
        "background_label:INT",
    ),
    "generate_proposals": Rule(
        "generate_proposals_v2",
        "Scores BboxDeltas ImShape Anchors Variances",
        "RpnRois RpnRoiProbs RpnRoisNum:int32",
        "pre_nms_top_n>pre_nms_topN:INT post_nms_top_n>post_nms_topN:INT nms_thresh:FLOAT min_size:FLOAT eta:FLOAT "
        "pixel_offset:BOOLEAN",
    ),
    "distribute_fpn_proposals": Rule(
        "distribute_fpn_proposals",
        "FpnRois RoisNum?",
        "MultiFpnRois* MultiLevelRoIsNum* RestoreIndex",
        "min_level:INT max_level:INT refer_level:INT refer_scale:INT pixel_offset:BOOLEAN",
    ),
}
