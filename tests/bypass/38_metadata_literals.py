"""The metadata services of the clouds by their addresses.

Source: AWS (IMDS, ECS, EKS), Azure, Google, Oracle, Alibaba, Scaleway documentation; https://github.com/onyx-dot-app/onyx/pull/12242
"""


def attempt(t):
    for host in ("169.254.169.254", "169.254.170.2", "169.254.170.23", "168.63.129.16", "100.100.100.200",
                 "192.0.0.192", "[fd00:ec2::254]", "[fd00:ec2::23]", "[fd20:ce::254]", "[fd00:c1::a9fe:a9fe]",
                 "[fd00:42::42]"):
        for listener in ("deny", "aws", "open_host"):
            t.refused(t.get(f"http://{host}/latest/meta-data/", listener), 403, "the host guard refuses")
