"""A client of HTTP/1.1 and HTTP/2 that many use: httpx.

    httpx_calls.py PLAIN TLS ROOTS

takes the addresses of two listeners, and the file of who is believed over TLS. The
origin is heads.py."""

import asyncio
import ssl
import sys

import httpx


async def calls(url, version, **how):
    async with httpx.AsyncClient(base_url=url, timeout=30, **how) as client:
        answer = await client.get("/one", headers={"x-asked": "1"}, params={"a": "b c"})
        assert answer.http_version == version, answer.http_version
        assert answer.status_code == 200, answer
        assert answer.text.startswith("GET /one?a=b+c HTTP/1.1\r\n"), answer.text
        assert "\r\nx-asked: 1\r\n" in answer.text, answer.text
        assert f"\r\nx-forwarded-proto: {answer.url.scheme}\r\n" in answer.text, answer.text

        answer = await client.head("/one")
        assert answer.status_code == 200 and answer.content == b"", answer

        answer = await client.post("/whole", content=bytes(1 << 20))
        assert "\r\ncontent-length: 1048576\r\n" in answer.text, answer.text

        async def pieces():
            for _ in range(64):
                yield bytes(16 << 10)

        answer = await client.post("/pieces", content=pieces())
        assert "\r\ntransfer-encoding: chunked\r\n" in answer.text, answer.text

        answer = await client.get("/", cookies={"a": "1", "b": "2"})
        assert "\r\ncookie: a=1; b=2\r\n" in answer.text, answer.text

        answers = await asyncio.gather(*(client.get(f"/{number}") for number in range(200)))
        for number, answer in enumerate(answers):
            assert answer.text.startswith(f"GET /{number} "), answer.text


class Named(httpx.AsyncHTTPTransport):
    """The name of the certificate is in no resolver."""

    async def handle_async_request(self, request):
        request.extensions["sni_hostname"] = "test"
        return await super().handle_async_request(request)


async def main(plain, tls, roots):
    await calls(f"http://{plain}", "HTTP/1.1")
    await calls(f"http://{plain}", "HTTP/2", http1=False, http2=True)
    context = ssl.create_default_context(cafile=roots)
    for version, http2 in [("HTTP/1.1", False), ("HTTP/2", True)]:
        await calls(f"https://{tls}", version, transport=Named(verify=context, http2=http2))


asyncio.run(main(*sys.argv[1:]))
