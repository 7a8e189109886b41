"""What sslyze, which looks for what is weak in TLS, finds at a listener with the
defaults, for whose name there is a certificate of ECDSA and one of RSA.

    tls_scan.py ADDRESS NAME"""

import sys

from sslyze import (
    ScanCommand,
    ScanCommandAttemptStatusEnum,
    Scanner,
    ServerNetworkConfiguration,
    ServerNetworkLocation,
    ServerScanRequest,
)

SUITES = {
    "tls_1_3_cipher_suites": {
        "TLS_AES_256_GCM_SHA384",
        "TLS_AES_128_GCM_SHA256",
        "TLS_CHACHA20_POLY1305_SHA256",
    },
    "tls_1_2_cipher_suites": {
        f"TLS_ECDHE_{key}_WITH_{suite}"
        for key in ("ECDSA", "RSA")
        for suite in ("AES_256_GCM_SHA384", "AES_128_GCM_SHA256", "CHACHA20_POLY1305_SHA256")
    },
    "tls_1_1_cipher_suites": set(),
    "tls_1_0_cipher_suites": set(),
    "ssl_3_0_cipher_suites": set(),
    "ssl_2_0_cipher_suites": set(),
}


def scan(address, name):
    host, port = address.rsplit(":", 1)
    request = ServerScanRequest(
        server_location=ServerNetworkLocation(hostname=name, port=int(port), ip_address=host),
        network_configuration=ServerNetworkConfiguration(tls_server_name_indication=name),
        # Those about HTTP are about an origin. Resumption it takes for missing where each
        # ticket is good for one use, and another is given.
        scan_commands={*ScanCommand}
        - {ScanCommand.HTTP_HEADERS, ScanCommand.SESSION_RESUMPTION},
    )
    scanner = Scanner()
    scanner.queue_scans([request])
    result = next(iter(scanner.get_results()))
    assert result.scan_result, result.connectivity_error_trace
    results = result.scan_result
    return {command.value: getattr(results, command.value) for command in request.scan_commands}


def main(address, name):
    attempts = scan(address, name)
    for command, attempt in attempts.items():
        is_done = attempt.status == ScanCommandAttemptStatusEnum.COMPLETED
        assert is_done, (command, attempt.error_trace)
    found = {command: attempt.result for command, attempt in attempts.items()}

    for command, wanted in SUITES.items():
        suites = {accepted.cipher_suite.name for accepted in found[command].accepted_cipher_suites}
        assert suites == wanted, (command, suites)
    kinds = {
        type(deployment.received_certificate_chain[0].public_key()).__name__
        for deployment in found["certificate_info"].certificate_deployments
    }
    assert len(kinds) == 2, kinds

    assert not found["heartbleed"].is_vulnerable_to_heartbleed
    assert not found["openssl_ccs_injection"].is_vulnerable_to_ccs_injection
    assert found["robot"].robot_result.value.startswith("NOT_VULNERABLE"), found["robot"]
    assert not found["tls_compression"].supports_compression
    assert found["tls_fallback_scsv"].supports_fallback_scsv
    assert found["tls_extended_master_secret"].supports_ems_extension
    assert not found["tls_1_3_early_data"].supports_early_data
    renegotiation = found["session_renegotiation"]
    assert renegotiation.supports_secure_renegotiation
    assert not renegotiation.is_vulnerable_to_client_renegotiation_dos
    curves = {curve.name for curve in found["elliptic_curves"].supported_curves}
    assert curves == {"X25519", "secp256r1", "secp384r1"}, curves


main(*sys.argv[1:])
