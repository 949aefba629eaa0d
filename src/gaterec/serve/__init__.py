"""A run put in front of people: an HTTP server (extra `serve`), its store of events, and the page at `/`.

start.py      from a command line to a listening server, and down again
app.py        which path does what
service.py    what is done: the one thread that has the model, and the store of events
batching.py   requests that come together are answered together; a bounded queue, deadlines
live.py       the run that answers, and how another takes its place
connections.py  what stands before that: the head of a request comes soon and is not too large
guard.py      what stands before every request: token, origin, limits, headers
problems.py   errors as people and programs read them (RFC 9457)
metrics.py    what Prometheus reads
events.py     people's newer events, in SQLite or PostgreSQL
page/         plain HTML, CSS and JavaScript modules
"""
