"""Can one answer be taken for another?"""

from leasebox.contract.scripts import answers, client_answers


def test_answers_of_two_kinds_are_never_equal() -> None:
    assert len({answers.Gone(), answers.LeaseLost(), answers.Cancelled(), client_answers.Requested()}) == 4
    assert answers.Gone() != answers.Cancelled()
    assert answers.Requeued("ok") != answers.Ended("ok")
