"""An nginx of one worker, as a proxy or as the origin behind all of them."""

import os

HTTP = """
    keepalive_timeout 300s;
    keepalive_requests 1000000000;
"""


def origin(binary, place):
    """An nginx that answers 1 KiB, at /body 1 MiB, and at /check what it was sent."""
    (place.folder / "body").write_bytes(bytes(1 << 20))
    seen = "|".join(f"$http_x_stamp_{number}" for number in range(1, 6))
    http = f"""
    access_log off;
    sendfile on;
    server {{
        listen 127.0.0.1:{place.port} backlog=4096;
        location = /check {{ return 200 "$http_x_forwarded_for|$http_x_request_id|{seen}"; }}
        location = /body {{ root {place.folder}; }}
        location / {{ return 200 "{'x' * 1024}"; }}
    }}"""
    return command(binary, place.folder, http, [])[0]


def command(binary, folder, servers, modules, kind="http"):
    load = "".join(f"load_module {module};\n" for module in modules)
    user = "user root;" if os.geteuid() == 0 else ""
    temporary = "".join(
        f"    {name}_temp_path {folder}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    what = HTTP + temporary if kind == "http" else ""
    config = folder / "nginx.conf"
    config.write_text(f"""{load}{user}
daemon off;
worker_processes 1;
worker_rlimit_nofile 10000;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 9000; }}
{kind} {{{what}{servers}
}}
""")
    return [binary, "-p", folder, "-c", config], None
