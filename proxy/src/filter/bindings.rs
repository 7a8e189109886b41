//! What the contract in `wit/` is in Rust.

wasmtime::component::bindgen!({
    path: "../wit",
    world: "filter",
    imports: { default: trappable },
    with: {
        "lockgate:filter/metrics.metric": crate::filter::host::metrics::Metric,
    },
});

/// Filters of connections.
pub mod connection {
    wasmtime::component::bindgen!({
        path: "../wit",
        inline: "package lockgate:host;
            world tcp {
                import lockgate:filter/connection@0.1.0;
                export lockgate:filter/connection-filter@0.1.0;
            }",
        imports: { default: trappable },
        with: {
            "lockgate:filter/types": crate::filter::bindings::lockgate::filter::types,
        },
    });
}

/// What only some filters export.
pub mod background {
    wasmtime::component::bindgen!({
        path: "../wit",
        inline: "package lockgate:host;
            world background {
                export lockgate:filter/background@0.1.0;
            }",
        with: {
            "lockgate:filter/types": crate::filter::bindings::lockgate::filter::types,
        },
    });
}

/// The same.
pub mod hand_over {
    wasmtime::component::bindgen!({
        path: "../wit",
        inline: "package lockgate:host;
            world hand-over {
                export lockgate:filter/hand-over@0.1.0;
            }",
    });
}

/// What only some filters may import.
pub mod granted {
    wasmtime::component::bindgen!({
        path: "../wit",
        inline: "package lockgate:host;
            world granted {
                import lockgate:filter/secrets@0.1.0;
                import lockgate:filter/shared@0.1.0;
                import lockgate:filter/http-client@0.1.0;
            }",
        imports: {
            "lockgate:filter/http-client.[static]call.wait": async | trappable,
            default: trappable,
        },
        with: {
            "lockgate:filter/types": crate::filter::bindings::lockgate::filter::types,
            "lockgate:filter/http-client.call": crate::filter::host::http_client::Pending,
        },
    });
}
