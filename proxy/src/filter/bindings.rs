//! What the contract in `wit/` is in Rust.

wasmtime::component::bindgen!({
    path: "../wit",
    world: "filter",
    imports: { default: trappable },
    with: {
        "lockgate:filter/metrics.metric": crate::filter::host::metrics::Metric,
    },
});
