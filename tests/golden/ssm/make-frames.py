#!/usr/bin/python3
"""Writes frames.txt: messages of the data channel built from the table in
docs/PROTOCOL.ssm with struct and hashlib, independently of the C codec.

One case a line: name result type payload_type seq flags created uuid payload frame
(the last two in hex, "-" for none). result is "ok" or the word that the
decoder's error must contain. "encode" in front of the name: our encoder must
produce these very bytes.
"""
import hashlib
import struct
import uuid

ID = uuid.UUID("0f1e2d3c-4b5a-4978-8695-a4b3c2d1e0ff")
NOW = 1700000000123


def frame(kind, payload, *, header=116, ptype=1, seq=0, flags=0, pad=b" ", created=NOW,
          schema=1, digest=None, length=None, ident=ID):
    raw = ident.bytes
    out = struct.pack(">I", header) + kind.encode().ljust(32, pad)
    out += struct.pack(">IQqQ", schema, created, seq, flags)
    out += raw[8:] + raw[:8]
    out += hashlib.sha256(payload).digest() if digest is None else digest
    if header >= 116:
        out += struct.pack(">I", ptype)
    out += b"\xee" * (header - max(116, header) + max(0, header - 116))
    out += struct.pack(">I", len(payload) if length is None else length)
    return out + payload


def emit(name, result, kind, payload, data=None, **kw):
    data = frame(kind, payload, **kw) if data is None else data
    print(name, result, kind, kw.get("ptype", 1) if kw.get("header", 116) >= 116 else 0,
          kw.get("seq", 0), kw.get("flags", 0), kw.get("created", NOW), ID,
          payload.hex() or "-", data.hex() or "-")


ACK = (b'{"AcknowledgedMessageType":"output_stream_data","AcknowledgedMessageId":"'
       + str(ID).encode() + b'","AcknowledgedMessageSequenceNumber":7,"IsSequentialMessage":true}')
CLOSED = (b'{"MessageId":"x","CreatedDate":"y","DestinationId":"d","SessionId":"s",'
          b'"MessageType":"channel_closed","SchemaVersion":1,"Output":"bye"}')

emit("encode:input", "ok", "input_stream_data", b"hello\n")
emit("encode:input-lf", "ok", "input_stream_data", b"\n", seq=5)
emit("encode:input-big-seq", "ok", "input_stream_data", bytes(range(256)), seq=2**40 + 3)
emit("encode:input-empty", "ok", "input_stream_data", b"", seq=1)
emit("encode:flag-terminate", "ok", "input_stream_data", struct.pack(">I", 2), ptype=10, seq=9)
emit("encode:ack", "ok", "acknowledge", ACK, ptype=0, flags=3)
emit("output", "ok", "output_stream_data", b"x" * 1024, seq=2)
emit("output-syn", "ok", "output_stream_data", b"{}", ptype=5, flags=1)
emit("output-nul-padded", "ok", "output_stream_data", b"abc", pad=b"\0", seq=3)
emit("output-long-header", "ok", "output_stream_data", b"abc", header=124, seq=4)
emit("closed-112-nul", "ok", "channel_closed", CLOSED, header=112, pad=b"\0")
emit("closed-116-space", "ok", "channel_closed", CLOSED, ptype=0)
emit("closed-bad-digest", "ok", "channel_closed", CLOSED, header=112, pad=b"\0", digest=b"\0" * 32,
     created=0, length=1)
emit("pause-garbage", "ok", "pause_publication", b"?", digest=b"\1" * 32, created=0, length=999)
emit("start-empty", "ok", "start_publication", b"", created=0)
emit("unknown-type", "ok", "interactive_shell", b"{}", ptype=0)
emit("bad-digest", "digest", "output_stream_data", b"abc", digest=b"\0" * 32)
emit("wrong-length", "ok", "output_stream_data", b"abc", length=4)
emit("no-length", "ok", "output_stream_data", b"abc", length=0)
emit("bad-date", "date", "output_stream_data", b"abc", created=0)
emit("bad-seq", "sequence", "output_stream_data", b"abc", seq=-1)
emit("last-seq", "sequence", "output_stream_data", b"abc", seq=2**63 - 1)
whole = frame("output_stream_data", b"abc")
emit("header-zero", "header", "output_stream_data", b"", data=struct.pack(">I", 0) + whole[4:])
emit("header-huge", "header", "output_stream_data", b"", data=struct.pack(">I", 0xfffffffc) + whole[4:])
emit("header-113", "header", "output_stream_data", b"", data=struct.pack(">I", 113) + whole[4:])
emit("header-beyond", "header", "output_stream_data", b"", data=struct.pack(">I", 120) + whole[4:])
emit("cut-at-115", "bytes", "output_stream_data", b"", data=whole[:115])
emit("cut-at-118", "header", "output_stream_data", b"", data=whole[:118])
emit("nothing", "bytes", "output_stream_data", b"", data=b"")
