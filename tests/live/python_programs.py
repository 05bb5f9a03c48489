"""Python applications that are broken, each in one way, and one that is well. They say "ready" when they are so."""

LOCKED = """
import queue, socket, threading
LEDGER, jobs = threading.Lock(), queue.Queue()
bank = socket.create_server(("127.0.0.1", 0))
def charge():
    return socket.create_connection(bank.getsockname()).recv(1)
def book():
    with LEDGER:
        charge()
def work():
    while True:
        jobs.get()
        book()
for number in range(12):
    threading.Thread(target=work, name=f"worker-{number}", daemon=True).start()
    jobs.put(number)
while not jobs.empty():
    pass
print("ready", flush=True)
threading.Event().wait(120)
"""
DEADLOCKED = """
import threading
ACCOUNTS, AUDIT, both = threading.Lock(), threading.Lock(), threading.Barrier(3)
def transfer():
    with ACCOUNTS:
        both.wait()
        with AUDIT:
            pass
def report():
    with AUDIT:
        both.wait()
        with ACCOUNTS:
            pass
for work in (transfer, report):
    threading.Thread(target=work, daemon=True).start()
both.wait()
print("ready", flush=True)
threading.Event().wait(120)
"""
BURNING = """
import os, threading, time
def discount(order):
    return sum(each * each for each in range(order))
def price(order):
    return discount(order)
def serve():
    while os.getppid() != 1:
        price(20_000)
threading.Thread(target=serve, name="pricing", daemon=True).start()
print("ready", flush=True)
time.sleep(120)
"""
BLOCKED_LOOP = """
import asyncio, socket
bank = socket.create_server(("127.0.0.1", 0))
def fetch():
    return socket.create_connection(bank.getsockname()).recv(1)
async def handle():
    print("ready", flush=True)
    fetch()
asyncio.run(handle())
"""
IDLE = """
import asyncio, http.server, queue, threading, time
from concurrent.futures import ThreadPoolExecutor
jobs = queue.Queue()
def work():
    while True:
        jobs.get()
for number in range(4):
    threading.Thread(target=work, name=f"worker-{number}", daemon=True).start()
pool = ThreadPoolExecutor(6)
list(pool.map(time.sleep, [0.05] * 6))
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
threading.Thread(target=server.serve_forever, name="http", daemon=True).start()
threading.Thread(target=asyncio.run, args=(asyncio.sleep(120),), name="loop", daemon=True).start()
print("ready", flush=True)
while True:
    jobs.put(1)
    time.sleep(0.2)
"""
