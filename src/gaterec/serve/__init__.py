"""A run behind an HTTP server (extra `serve`), its store of events, its client, and the page at `/`.

server.py          from a command line to a listening server, and down again
app.py             which route does what
service.py         answers requests: the one thread that has the model, and the store of events
batching.py        many requests, one matrix product
reloading.py       the run that answers, and newer ones in its folder
lookups.py         users, items and the run, for the page
middleware.py      what every request passes: token, Host, Origin, size, deadline
http_protocol.py   how requests are parsed
bodies.py          limits on JSON before it is parsed
schemas.py         requests and answers
problems.py        errors as problem details (RFC 9457)
metrics.py         Prometheus metrics
client.py          the routes as Python calls
events/            the store of events
page/              HTML, CSS, JavaScript
"""
