"""Who is known to Dataverse, and what a look-up must find."""

import pytest

from sandbox.demo.people import CONTACTS, KNOWN, LEADS, PROFILES, Directory, Match, Population, e164


@pytest.fixture
def directory() -> Directory:
    return Population(1).directory


def test_contacts_come_before_leads_and_leads_before_profiles(directory: Directory) -> None:
    profile = directory.add(PROFILES, email="a@x.y")
    assert directory.find("a@x.y", None) == Match("mapped", profile)
    lead = directory.add(LEADS, email="a@x.y")
    assert directory.find("a@x.y", None) == Match("mapped", lead)
    contact = directory.add(CONTACTS, phone="+4930123456")
    assert directory.find("a@x.y", "+49 30 123456") == Match("mapped", contact)


def test_the_address_comes_before_the_number_and_its_case_does_not_matter(directory: Directory) -> None:
    directory.add(CONTACTS, phone="+4930123456")
    by_email = directory.add(CONTACTS, email="JÜRGEN.O'Neil@x.y")
    assert directory.find("jürgen.o'neil@X.Y", "+4930123456") == Match("mapped", by_email)


def test_several_active_records_are_ambiguous_even_if_a_later_key_is_clear(directory: Directory) -> None:
    directory.add(LEADS, email="a@x.y")
    directory.add(LEADS, email="a@x.y")
    directory.add(LEADS, phone="+4930123456")
    assert directory.find("a@x.y", "+4930123456") == Match("ambiguous")


def test_inactive_records_are_not_there(directory: Directory) -> None:
    directory.add(CONTACTS, email="a@x.y", active=False)
    assert directory.find("a@x.y", None) == Match("not_found")
    assert directory.find(None, None) == Match("not_found")


def test_a_number_is_written_in_many_ways_and_is_one() -> None:
    for phone in ("+491511234567", "+49 1511 234567", "+49-1511-234567", "+49 (1511) 234 567"):
        assert e164(phone) == "+491511234567"


def test_everybody_is_found_as_they_were_made_to_be() -> None:
    population = Population(seed=3)
    known = [population.known() for _ in range(len(KNOWN) * 20)]
    unknown = [population.unknown() for _ in range(50)]
    ambiguous = [population.ambiguous() for _ in range(50)]
    accounts = [population.two_accounts() for _ in range(20)]
    find = population.directory.find
    ids = [find(person.email, person.phone) for person in known]
    assert {match.state for match in ids} == {"mapped"}
    assert len({match.record_id for match in ids}) == len(known)
    assert {find(person.email, person.phone).state for person in unknown} == {"not_found"}
    assert {find(person.email, person.phone).state for person in ambiguous} == {"ambiguous"}
    for one, other in accounts:
        assert find(one.email, one.phone) == find(other.email, other.phone)
        assert one.user_id != other.user_id
    addresses = " ".join(person.email or "" for person in known)
    assert all(character in addresses for character in "'+üł_")


def test_the_same_seed_makes_the_same_people() -> None:
    one, same, other = Population(1), Population(1), Population(2)
    people = [[population.known() for _ in range(30)] for population in (one, same, other)]
    assert people[0] == people[1] != people[2]
    assert one.directory.rows == same.directory.rows


def test_a_merged_contact_is_found_as_its_master_and_by_the_masters_own_address_no_more(directory: Directory) -> None:
    loser = directory.add(CONTACTS, email="a@x.y", phone="+491")
    master = directory.add(CONTACTS, email="m@x.y")
    rows = directory.merge(loser, master)
    assert directory.find("a@x.y", None) == directory.find(None, "+491") == Match("mapped", master)
    assert directory.find("m@x.y", None) == Match("not_found")
    by_id = {row["contactid"]: row for row in rows}
    assert (by_id[loser]["statecode"], by_id[loser]["merged"], by_id[loser]["_masterid_value"]) == (1, True, master)
    assert (by_id[master]["emailaddress1"], by_id[master]["mobilephone"]) == ("a@x.y", "+491")
