"""Several profiles in one process: each has its own account, region and instance, and rules name them."""
import client
import harness

ONE, TWO = "i-0000000000000000a", "i-0000000000000000b"


def test_two_accounts(localaws, awsocks, web, tmp_path):
    names = ("--resolve", f"one.example=127.0.0.1:{web.port}", "--resolve", f"two.example=127.0.0.1:{web.port}")
    first = localaws("--region", "eu-central-1", "--instance", f"id={ONE},name=bastion", *names)
    second = localaws("--region", "us-west-2", "--instance", f"id={TWO},name=bastion", *names)
    keys = first.env()
    files = tmp_path / "aws"
    files.write_text("".join(
        f"[profile {name}]\nregion = {region}\nendpoint_url = {of.endpoint}\n"
        f"aws_access_key_id = {keys['AWS_ACCESS_KEY_ID']}\naws_secret_access_key = {keys['AWS_SECRET_ACCESS_KEY']}\n"
        for name, region, of in (("prod", "eu-central-1", first), ("lab", "us-west-2", second))))
    config = tmp_path / "config.yaml"
    config.write_text("profiles:\n  default: { name: bastion, aws-profile: prod }\n"
                      "  staging: { name: bastion, aws-profile: lab }\n")
    rules = tmp_path / "rules.yaml"
    rules.write_text("default: block\nproxy: [one.example]\nrules:\n"
                     "  - { match: two.example, route: 'proxy:staging' }\n")
    proxy = awsocks("--config", str(config), "--rules", str(rules),
                    env={"AWS_CONFIG_FILE": str(files), "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
                         "AWS_REGION": ""})
    for name in ("one", "two"):
        client.curl("--proxy", proxy.url(), "--fail", f"http://{name}.example/bytes/10")
    backends = {b["name"]: b for b in proxy.status()["backends"]}
    assert [(b["instance"], b["region"]) for b in backends.values()] == [(ONE, "eu-central-1"), (TWO, "us-west-2")]
    assert first.stats()["StartSession"] == second.stats()["StartSession"] == 1
    assert proxy.stop() == 0
    lines = {line["host"]: line["route"] for line in proxy.audit()}
    assert lines == {"one.example": "proxy", "two.example": "proxy:staging"}
    for aws in (first, second):
        harness.wait_for(lambda: aws.stats()["sessions_open"] == 0, what="the sessions' end")
