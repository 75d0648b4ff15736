"""The families of the project's variants, by which tables group their rows. It is read without JAX."""

FAMILIES = {
    "softmax pattern": (
        "transformer", "local", "sparse_transformer", "longformer", "bigbird", "dilated", "reformer", "sinkhorn",
        "differential", "sigmoid",
    ),
    "low rank": ("linformer", "nystromformer", "luna", "h_transformer_1d"),
    "linear attention": (
        "linear", "performer", "cosformer", "cosformer2", "nalaformer", "transnormer", "retention", "tnl", "hgrn2",
        "based", "mlstm",
    ),
    "delta rule": ("deltanet", "gated_deltanet", "kda", "deltaproduct"),
    "state space": ("s5", "lru", "s4d", "hgrn", "mamba", "mamba2", "mamba3", "hydra", "b2s6", "lamamba"),
    "convolution": ("lightconv",),
    "other": ("synthesizer", "fnet", "mega", "mlp_mixer"),
}  # fmt: skip
OUTSIDE = "outside"  # the family of every other variant
FAMILY = {name: family for family, names in FAMILIES.items() for name in names}
