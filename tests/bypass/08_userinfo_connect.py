"""User information in a CONNECT target, where no grammar has it.

Source: RFC 9112, 3.2.3 (authority-form has none); NVIDIA/OpenShell#1498
"""


def attempt(t):
    for target in ("allowed.example@blocked.example:443", "allowed.example:443@blocked.example:443",
                   "u:p@allowed.example:443"):
        t.refused(t.connect(target), 400, "user information")
