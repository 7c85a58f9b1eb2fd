"""Speed and cost of the real process, on loopback, against a stub that answers at once.

    figures.py    what is reported      stub.py      the API server and Prometheus, as canned bytes
    product.py    `remediator serve`    bare.py      what acknowledging durably costs without us
    sending.py    clients               floor.py     the same HTTP calls, bare

    act.py, accept.py, footprint.py, curve.py, chain.py: one group of figures each

The machine is never quiet, so what is compared is measured in the same run, in turns, and ratios count
more than milliseconds.
"""
