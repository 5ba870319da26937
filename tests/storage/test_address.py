"""What an address of a storage may say."""

import pytest

from kdsearch.errors import Refusal
from kdsearch.storage.address import check_address


@pytest.mark.parametrize(
    "uri",
    [
        "s3://bucket/path",
        "s3://bucket/path?region=eu-central-1&endpoint_override=host:9000&scheme=http",
        "gs://anonymous@bucket/path",
        "abfs://container@account.dfs.core.windows.net/path",
    ],
)
def test_where_a_storage_is_may_be_said(uri):
    check_address(uri)


@pytest.mark.parametrize(
    "uri, said",
    [
        ("s3://KEY:HUNTER2@bucket/path", "a user or password"),
        ("gs://HUNTER2@bucket/path", "a user or password"),
        ("s3://bucket/path?secret_key=HUNTER2", "secret_key"),
        ("s3://bucket/path?SECRET_KEY=HUNTER2", "SECRET_KEY"),
        ("s3://bucket/path?HUNTER2", "a name that is no option"),
        ("s3://bucket/path?secret_key%3DHUNTER2", "a name that is no option"),
        ("s3://bucket/path?endpoint_override=http://KEY:HUNTER2@host:9000", "more than a place in endpoint_override"),
        ("s3://bucket/path?region=eu;secret_key=HUNTER2", "more than a place in region"),
        ("s3://bucket/path#secret_key=HUNTER2", "something behind a #"),
    ],
)
def test_credentials_are_refused_wherever_they_hide_and_never_repeated(uri, said):
    with pytest.raises(Refusal, match="says where the storage is and no more") as refused:
        check_address(uri)
    text = str(refused.value)
    assert said in text and "HUNTER2" not in text and "AWS_ACCESS_KEY_ID" in text and "region" in text


def test_what_is_no_address_is_refused():
    with pytest.raises(Refusal, match="such as s3://bucket/path, but this one is none"):
        check_address("s3://[b/p")
