"""Programs for Node.js that are broken, each in one way, and one that is well. They say "ready" once they are about to be."""

BLOCKED = """
const http = require("http")
function price(lines) { return lines < 2 ? lines : price(lines - 1) + price(lines - 2) }
function checkout(orders) { let total = 0; for (let order = 0; order < orders; order++) total += price(27); return total }
http.createServer((_, answer) => answer.end("ok")).listen(0, "127.0.0.1", () => {
  console.log("ready")
  setTimeout(() => { while (process.ppid > 1) checkout(10) }, 50)
})
"""
WAITING = """
console.log("ready")
setTimeout(() => require("child_process").execSync("exec sleep 60"), 50)
"""
FILLED = """
class Order { constructor(id) { this.id = id; this.lines = new Array(200).fill(id) } }
const kept = []
while (process.memoryUsage().heapUsed < 90e6) for (let each = 0; each < 200; each++) kept.push(new Order(each))
console.log("ready")
setInterval(() => {}, 100)
"""
SHOP = """
const http = require("http")
const orders = Array.from({length: 500}, (_, id) => ({id, total: id * 7}))
const server = http.createServer((_, answer) => setTimeout(() => answer.end(JSON.stringify(orders.slice(0, 50))), 3))
server.listen(0, "127.0.0.1", () => {
  const agent = new http.Agent({keepAlive: true, maxSockets: 8})
  setInterval(() => http.get({port: server.address().port, host: "127.0.0.1", agent}, got => got.resume()), 25)
  console.log("ready")
})
"""
