"""What must be held, and what tokenhub must say, after what the phones did."""

import pytest

from sandbox.demo.model import Model
from sandbox.demo.people import CONTACTS, Person, Population


class Household:
    """Anna and Bert, whom Dataverse knows, and a phone."""

    def __init__(self) -> None:
        self.directory = directory = Population(1).directory
        self.anna_id = directory.add(CONTACTS, email="anna@x.y")
        self.bert_id = directory.add(CONTACTS, email="bert@x.y", phone="+4930123456")
        directory.add(CONTACTS, email="twice@x.y")
        directory.add(CONTACTS, email="twice@x.y")
        self.anna = Person("anna", "anna@x.y", None)
        self.bert = Person("bert", "bert@x.y", None)
        self.model = Model(directory, dead_tokens={"dead"})
        self.now = 0.0

    def launch(self, person: Person | None, token: str = "t", phone: str = "p", **consents: bool) -> None:
        user = {**person.as_json(), **consents} if person else None
        self.model.launch(phone, token, self.tick(), user=user, keep=False)

    def refresh(self, token: str, phone: str = "p") -> None:
        self.model.launch(phone, token, self.tick(), user=None, keep=True)

    def tick(self) -> float:
        self.now += 1
        return self.now

    def spans(self) -> list[tuple[str, str, float, float | None]]:
        return [(*episode.pair, episode.since, episode.until) for episode in self.model.episodes]


@pytest.fixture
def home() -> Household:
    return Household()


def test_a_launch_makes_a_pair_and_a_repeated_one_changes_nothing(home: Household) -> None:
    home.launch(home.anna)
    home.launch(home.anna)
    assert home.model.held() == {(home.anna_id, "t")}
    assert home.model.state("p") == "registered"
    assert home.spans() == [(home.anna_id, "t", 1, None)]


def test_a_token_that_changes_takes_its_user_along(home: Household) -> None:
    home.launch(home.anna)
    home.refresh("new")
    assert home.model.held() == {(home.anna_id, "new")}
    assert home.spans() == [(home.anna_id, "t", 1, 2), (home.anna_id, "new", 2, None)]


def test_another_user_takes_the_phone_over(home: Household) -> None:
    home.launch(home.anna)
    home.launch(home.bert)
    assert home.model.held() == {(home.bert_id, "t")}
    home.launch(None)
    assert (home.model.held(), home.model.state("p")) == (set(), "no_user")


def test_signing_out_and_deleting_end_it_and_a_launch_revives_it(home: Household) -> None:
    home.launch(home.anna)
    home.model.sign_out("p", home.tick())
    assert (home.model.held(), home.model.state("p")) == (set(), "no_user")
    home.launch(home.anna)
    home.model.delete("p", home.tick())
    assert (home.model.held(), home.model.state("p")) == (set(), "deleted")
    home.launch(home.anna)
    assert (home.model.held(), home.model.state("p")) == ({(home.anna_id, "t")}, "registered")


def test_a_deleted_phone_that_says_nothing_of_its_user_still_has_one(home: Household) -> None:
    home.launch(home.anna)
    home.model.delete("p", home.tick())
    home.refresh("t")
    assert home.model.held() == {(home.anna_id, "t")}


def test_a_consent_goes_for_all_of_a_users_devices(home: Household) -> None:
    home.launch(home.anna, "t1", "p1")
    home.launch(home.anna, "t2", "p2")
    assert home.model.held() == {(home.anna_id, "t1"), (home.anna_id, "t2")}
    home.launch(home.anna, "t2", "p2", push_consent=False)
    assert home.model.held() == set()
    assert {home.model.state("p1"), home.model.state("p2")} == {"opted_out"}
    home.launch(home.anna, "t1", "p1", push_consent=True)
    assert len(home.model.held()) == 2


def test_two_users_who_are_one_contact_make_one_pair(home: Household) -> None:
    home.launch(home.bert, "t", "p")
    home.launch(Person("bert-2", None, "+49 30 123456"), "t", "p")
    assert home.model.held() == {(home.bert_id, "t")}
    assert home.spans() == [(home.bert_id, "t", 1, None)]


def test_a_token_belongs_to_the_installation_that_posted_it_last(home: Household) -> None:
    home.launch(home.anna, "t", "old")
    home.launch(home.anna, "t", "new")
    assert (home.model.state("old"), home.model.state("new")) == ("retired", "registered")
    assert home.spans() == [(home.anna_id, "t", 1, None)]


def test_whom_dataverse_does_not_know_or_knows_twice_is_not_registered(home: Household) -> None:
    home.launch(Person("who", "who@x.y", None))
    assert home.model.state("p") == "not_found"
    home.launch(Person("twice", "twice@x.y", None))
    assert home.model.state("p") == "ambiguous"
    assert home.model.held() == set()


def test_a_dead_token_is_wanted_and_not_held(home: Household) -> None:
    home.launch(home.anna, "dead")
    assert (home.model.held(), home.model.state("p")) == (set(), "failed")
    home.refresh("alive")
    assert (home.model.held(), home.model.state("p")) == ({(home.anna_id, "alive")}, "registered")


def test_events_are_relayed_unless_they_are_tests_or_nobody_consents(home: Household) -> None:
    home.refresh("t")
    home.model.event("p", "of-nobody")
    home.launch(home.anna, "t2")
    home.model.event("p", "of-anna")
    home.model.event("p", None)
    home.launch(home.anna, "t2", tracking_consent=False)
    home.model.event("p", "private")
    assert home.model.events == {"of-nobody": "t", "of-anna": "t2"}
    assert home.model.events_reported == 4
    for name in ("of-anna", None, "private"):
        home.model.event_accepted(name, 7.0)
    assert home.model.event_times == {"of-anna": 7.0}


def test_a_merged_contact_moves_the_pair_though_nobody_posted(home: Household) -> None:
    home.launch(home.anna)
    master = home.directory.add(CONTACTS, email="master@x.y")
    home.directory.merge(home.anna_id, master)
    home.model.look_again(home.tick())
    assert home.model.held() == {(master, "t")}
    assert home.spans() == [(home.anna_id, "t", 1, 2), (master, "t", 2, None)]
    assert [episode.posted for episode in home.model.episodes] == [True, False]
