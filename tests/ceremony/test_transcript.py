"""`acme-ca root verify`: any edit of a transcript, a missing act and what does not fit are found."""

from __future__ import annotations

import json
import shutil
from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from acme_ca.ceremony import transcript
from acme_ca.ceremony.plan import load
from acme_ca.ceremony.transcript import Record
from acme_ca.ceremony.verification import verify
from acme_ca.keys import PrivateKey
from acme_ca.pki import texts
from tests.support.offline import Offline


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Offline:
    """A ceremony that was held; nobody changes it."""
    return Offline.prepare(tmp_path_factory.mktemp("ceremony") / "offline").whole()


@pytest.fixture
def offline(whole: Offline, tmp_path: Path) -> Offline:
    """A copy of it."""
    shutil.copytree(whole.folder, tmp_path / "copy")
    return Offline(tmp_path / "copy")


def records(offline: Offline) -> list[dict[str, Any]]:
    return [json.loads(line) for line in offline.transcript.read_text().splitlines()]


def written(offline: Offline, found: list[dict[str, Any]]) -> None:
    """Write records down as they are written, whatever they say."""
    lines = [json.dumps(one, ensure_ascii=True, sort_keys=True, separators=(",", ":")) for one in found]
    offline.transcript.write_text("".join(f"{line}\n" for line in lines))


def findings(offline: Offline, *options: object) -> list[str]:
    result = offline.run("verify", offline.transcript, *options, "--json")
    document = json.loads(result.stdout)
    assert document["ok"] == (result.exit_code == 0) == (not document["findings"])
    found: list[str] = document["findings"]
    return found


def test_a_good_transcript_is_called_good(offline: Offline) -> None:
    assert findings(offline) == []
    result = offline.run("verify", offline.transcript)
    assert result.exit_code == 0
    assert "4 acts, good, head " in result.stdout
    acts = json.loads(offline.run("verify", offline.transcript, "--json").stdout)["acts"]
    assert [act["act"] for act in acts] == ["root.created", *["intermediate.signed"] * 2, "crl.signed"]
    assert all(act["plan_sha256"] == offline.digest for act in acts)
    assert {act["key"]["made"] for act in acts[1:]} == {False}


def test_every_octet_counts(whole: Offline) -> None:
    text = whole.transcript.read_text()

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.integers(0, len(text) - 1), st.sampled_from('a0" \n{}:,'))
    def check(position: int, instead: str) -> None:
        if text[position] != instead:
            assert verify(text[:position] + instead + text[position + 1 :]).findings

    check()


@pytest.mark.parametrize("number", [0, 1, 2])
def test_an_act_that_was_taken_out_is_missed(offline: Offline, number: int) -> None:
    found = records(offline)
    del found[number]
    written(offline, found)
    assert any("an act is missing, or was changed" in finding for finding in findings(offline))
    assert "is not as it was written, so that nothing is signed" in offline.refused("sign-crl")


def test_acts_in_another_order_are_found(offline: Offline) -> None:
    found = records(offline)
    written(offline, [found[0], found[2], found[1], found[3]])
    assert any("does not follow what is before it" in finding for finding in findings(offline))


def test_last_acts_that_were_taken_out_are_missed_by_what_was_kept(offline: Offline, whole: Offline) -> None:
    head = json.loads(offline.run("verify", offline.transcript, "--json").stdout)["head"]
    assert findings(offline, "--head", head) == []
    written(offline, records(offline)[:2])
    beside = [str(offline.folder / name) for name in ("root-corp.1.crl", "test-1.pem")]
    assert findings(offline) == [f"{path} was signed by the root, and no act tells of it" for path in beside]
    for path in beside:
        Path(path).unlink()
    assert findings(offline) == []
    assert any("acts were taken out or changed" in finding for finding in findings(offline, "--head", head))
    (finding,) = findings(offline, "--made", whole.folder / "test-1.pem")
    assert "no act tells of it" in finding
    missing = findings(offline, whole.transcript)
    assert [finding.partition(": ")[2].partition(" of ")[0] for finding in missing] == [
        "act 3 is missing: intermediate.signed test-1",
        "act 4 is missing: crl.signed root-corp",
    ]
    assert json.loads(whole.run("verify", whole.transcript, offline.transcript, "--json").stdout)["ok"]


def edited(change: Callable[[dict[str, Any]], object], number: int = 1) -> Callable[[Offline], None]:
    """Change an act, and leave everything else."""

    def edit(offline: Offline) -> None:
        found = records(offline)
        change(found[number]["act"])
        written(offline, found)

    return edit


@pytest.mark.parametrize(
    "change",
    [
        {"user": "mallory"},
        {"host": "elsewhere"},
        {"at": "2020-01-01T00:00:00Z"},
        {"checked": []},
        {"program": "acme-ca 9"},
        {"name": "prod-2"},
        {"certificate_sha256": "0" * 64},
        {"csr_sha256": "0" * 64},
        {"plan_sha256": "0" * 64},
        {"number": 3},
        {"previous": "0" * 64},
    ],
)
def test_an_edit_breaks_the_signature(offline: Offline, change: dict[str, Any]) -> None:
    edited(lambda act: act.update(change))(offline)
    found = findings(offline)
    assert "line 2: the root has not signed it" in found
    assert any("line 3: act 3 does not follow" in finding for finding in found)


def resigned(offline: Offline, change: Callable[[list[dict[str, Any]]], object]) -> list[str]:
    """Let the root's key sign all acts again after a change, as only its holder can, and tell what is found."""
    key: PrivateKey = load(offline.plan).plan.root.key.open()
    found = records(offline)
    change(found)
    previous, lines = transcript.NOTHING, []
    for number, one in enumerate(found, 1):
        act = Record.model_validate_json(json.dumps(one)).act
        act = act.model_copy(update={"previous": previous, "number": number})
        lines.append(transcript.signed(act, key).line)
        previous = transcript.line_hash(lines[-1])
    offline.transcript.write_text("".join(f"{line}\n" for line in lines))
    return findings(offline)


def swap(found: list[dict[str, Any]], *names: str) -> None:
    for name in names:
        found[1]["act"][name], found[2]["act"][name] = found[2]["act"][name], found[1]["act"][name]


def plan_with(found: list[dict[str, Any]], number: int, before: str, after: str) -> None:
    act = found[number]["act"]
    assert before in act["plan"]
    act["plan"] = act["plan"].replace(before, after, 1)
    act["plan_sha256"] = sha256(act["plan"].encode()).hexdigest()


@pytest.mark.parametrize(
    ("change", "reasons"),
    [
        (list, []),
        (
            lambda found: swap(found, "certificate", "certificate_sha256"),
            ["its subject is CN=Corp test-1,O=Corp", "it is for another key than that of the request", "2.5.29.30"],
        ),
        (lambda found: swap(found, "csr"), ["the digest of the request", "another key than that of the request"]),
        (lambda found: swap(found, "certificate_sha256"), ["the digest of the certificate is not that of its DER"]),
        (lambda found: plan_with(found, 1, "prod.corp", "pr.corp"), ["the extension 2.5.29.30 is another one"]),
        (
            lambda found: plan_with(found, 1, "lifetime_days = 365\n", "lifetime_days = 5\n"),
            ["is not that of the plan"],
        ),
        (lambda found: plan_with(found, 1, "crl_url", "# crl_url"), ["the extension 2.5.29.31 is not in the plan"]),
        (
            lambda found: plan_with(found, 1, 'name = "prod-1"', 'name = "other"'),
            ["its plan has no intermediate prod-1"],
        ),
        (lambda found: plan_with(found, 1, "[root]", "[rot]"), ["its plan cannot be read"]),
        (lambda found: plan_with(found, 0, "ec-p384", "ec-p256"), ["its key is of kind ec-p384, expected ec-p256"]),
        (lambda found: plan_with(found, 0, "3650", "10"), ["is not that of the plan"]),
        (lambda found: plan_with(found, 3, "next_update_days = 90", "next_update_days = 9"), ["its nextUpdate is"]),
        (lambda found: plan_with(found, 3, '"sequence"', "9"), ["its number is 1, expected 9"]),
        (lambda found: plan_with(found, 3, "[crl]", "[crl]\nrevoked = []"), []),
        (lambda found: found.append(found[3]), ["its number 1 is not above that of the list before"]),
        (lambda found: found.append(found[1]), ["intermediate prod-1 was signed before"]),
        (lambda found: found.append(found[0]), ["root.created cannot stand here"]),
        (lambda found: found.pop(0), ["cannot stand here", "there is no certificate of the root"]),
        (lambda found: found[1]["act"].update(certificate="nothing"), ["what it is about cannot be read"]),
        (lambda found: found[3]["act"].update(crl="nothing"), ["what it is about cannot be read"]),
        (lambda found: found[1]["act"]["key"].update(sha256="0" * 64), ["the root has not signed it"]),
        (lambda found: found[1]["act"].update(at="2020-01-01T00:00:00Z"), ["before the act that it follows"]),
    ],
)
def test_what_does_not_fit_is_found_even_when_the_root_signed_it(
    offline: Offline, change: Callable[[list[dict[str, Any]]], object], reasons: list[str]
) -> None:
    for path in [*offline.folder.glob("*.pem"), *offline.folder.glob("*.crl")]:
        path.unlink()
    found = resigned(offline, change)
    assert bool(found) == bool(reasons), found
    for reason in reasons:
        assert any(reason in finding for finding in found), found


def test_a_transcript_of_another_root_is_found(offline: Offline, tmp_path: Path) -> None:
    other = Offline.prepare(tmp_path / "other").whole()
    written(offline, [records(offline)[0], *records(other)[1:]])
    assert "line 2: the root has not signed it" in findings(offline)
    assert findings(other, "--made", offline.root) == [f"{offline.root} was signed by the root, and no act tells of it"]
    assert f"{offline.transcript}: line 1 is another one than in the copy" in findings(other, offline.transcript)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda text: text[:0], "it is empty"),
        (lambda text: text[:-1], "line 4: it is cut off"),
        (lambda text: text.replace(',"host"', ', "host"', 1), "line 1: it is not written as records are"),
        (lambda text: text.replace('"user"', '"usr"', 1), "line 1: it is no record of an act"),
        (lambda text: text + "{}\n", "line 5: it is no record of an act"),
        (lambda text: "no JSON\n" + text, "line 1: it is no record of an act: JSON"),
    ],
)
def test_what_is_no_transcript_is_found(offline: Offline, spoil: Callable[[str], str], reason: str) -> None:
    offline.transcript.write_text(spoil(offline.transcript.read_text()))
    assert any(finding.startswith(reason) for finding in findings(offline))


def test_a_signature_that_is_no_base64_is_found(offline: Offline) -> None:
    found = records(offline)
    found[0]["signature"] = "!"
    written(offline, found)
    assert "line 1: the root has not signed it" in findings(offline)


def test_files_that_cannot_be_read_are_refused(offline: Offline, tmp_path: Path) -> None:
    assert offline.run("verify", tmp_path / "nowhere").exit_code == 1
    (tmp_path / "latin").write_bytes(b"\xfc\n")
    assert "byte 0 is not UTF-8" in offline.run("verify", tmp_path / "latin").stderr
    assert "is no certificate and no revocation list" in findings(offline, "--made", offline.plan)[0]


def test_what_is_in_it_can_be_had_from_it(offline: Offline, tmp_path: Path) -> None:
    names = ("root-corp.pem", "prod-1.pem", "test-1.pem", "root-corp.1.crl")
    assert offline.run("verify", offline.transcript, "--extract", tmp_path / "out").exit_code == 0
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == {
        name: (offline.folder / name).read_bytes() for name in names
    }
    again = offline.run("verify", offline.transcript, "--extract", tmp_path / "out")
    assert again.exit_code == 1
    assert "exists already; nothing is overwritten" in again.stderr


def test_two_at_once_do_not_lose_a_line(offline: Offline) -> None:
    before = offline.transcript.read_text()
    transcript.append(offline.transcript, before, "first")
    with pytest.raises(RuntimeError, match="was changed meanwhile"):
        transcript.append(offline.transcript, before, "second")
    assert offline.transcript.read_text() == f"{before}first\n"


def test_no_text_is_a_certificate(offline: Offline) -> None:
    """A TBSCertificate starts with the octet 0x30; what the root signs here never does."""
    key = ec.generate_private_key(ec.SECP256R1())
    for _, record in transcript.read(offline.transcript.read_text()):
        assert record.act.text.startswith(b"acme-ca ")
    for text in (b"", b"0\x82", b"0"):
        with pytest.raises(ValueError, match="must not start like DER"):
            texts.sign(key, text)
    assert not texts.is_signed(b"text", b64encode(b"no"), key.public_key())
