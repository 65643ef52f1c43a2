"""Refusals of plans."""

from aliquot.kernel.problems import Conflict, Forbidden, InvalidInput, NotFound


class UnknownPlan(NotFound):
    code, sentence = "unknown_plan", "There is no such plan."


class PlanMovedOn(Conflict):
    """What the decision was about is not what the plan waits for (any more): look at it again."""

    code, sentence = "plan_moved_on", "The plan does not wait for this decision any more. Look at it again."


class PlanEnded(Conflict):
    code, sentence = "plan_ended", "The plan has ended."


class WholeNotOffered(Conflict):
    code, sentence = "whole_not_offered", "This plan goes step by step already."


class NotResumable(Conflict):
    code, sentence = "not_resumable", "Only a plan that is paused or failed can be resumed."


class OutcomeNeeded(InvalidInput):
    """Nobody but a person can find out."""

    code, sentence = "outcome_needed", "It is not known whether the step took effect: say with `took_effect` whether it did."


class NotTheRequester(Forbidden):
    code, sentence = "not_the_requester", "Only who asked for the plan can do this."


class StepFixed(Conflict):
    code, sentence = "step_fixed", "A step of a plan is not edited: stop the plan and ask anew."


class PlanTooLong(InvalidInput):
    code, sentence = "plan_too_long", "A plan has too many steps."
