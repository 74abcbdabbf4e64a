"""What comes to the proxy route by default must not go direct while AWS is asked, on a guarded listener.

Source: our own (what a lazy start is allowed elsewhere)
"""
import harness


def attempt(t):
    s = t.dial("aws")
    s.sendall(b"CONNECT w51.wild.example:443 HTTP/1.1\r\n\r\n")
    harness.wait_for(lambda: "tcp 127.0.0.1:4599" in t.seen(), what="AWS to be asked")
    s.close()
    t.audited(host="w51.wild.example")
    t.passes_from_now_on("tcp 127.0.0.1:4599")      # who gets no answer from AWS asks again, some time later
