"""The bare limit: a step that does nothing but answer. What it costs is the framework's price, and the rest is ours."""

import functions_framework.aio


@functions_framework.aio.http
async def hello(request: object) -> str:
    return "hello\n"
