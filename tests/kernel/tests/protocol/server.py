"""A server of the official SDK that asks back, tells how far it is, never ends, or dies."""

import asyncio, os

import mcp_types as types
from mcp.server import MCPServer
from mcp.server.mcpserver import Context

server = MCPServer("chatty")


@server.tool()
async def ask(question: str, ctx: Context) -> str:
    await ctx.report_progress(0.5, 1)
    message = types.SamplingMessage(role="user", content=types.TextContent(type="text", text=question))
    answer = await ctx.session.create_message(messages=[message], max_tokens=9)
    return answer.content.text


@server.tool()
async def wait() -> str:
    await asyncio.sleep(600)
    return "late"


@server.tool()
def die() -> str:
    os._exit(3)


server.run("stdio")
