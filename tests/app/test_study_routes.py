"""Studies and the runs that users make."""

from __future__ import annotations

from fastapi.testclient import TestClient

from tests.app.study_bodies import SETTINGS, create_study, get_run, queue_runs, study_body, weights


def test_priors_come_from_available_tokens(api: TestClient) -> None:
    study = api.get(f"/v1/studies/{create_study(api)}").json()
    assert [domain["prior"] for domain in study["domain_set"]["domains"]] == [0.5, 0.3, 0.2]
    assert study["domain_set"]["version"] == 1


def test_given_priors_are_normalised_and_win_over_tokens(api: TestClient) -> None:
    domains = [{"name": "a", "prior": 3, "available_tokens": 1}, {"name": "b", "prior": 1, "available_tokens": 10}]
    study = api.post("/v1/studies", json=study_body(domains=domains)).json()
    assert [domain["prior"] for domain in study["domain_set"]["domains"]] == [0.75, 0.25]


def test_domains_without_prior_and_tokens_share_equally(api: TestClient) -> None:
    study = api.post("/v1/studies", json=study_body(domains=[{"name": "a"}, {"name": "b"}])).json()
    assert [domain["prior"] for domain in study["domain_set"]["domains"]] == [0.5, 0.5]


def test_content_hash_tells_domain_sets_apart(api: TestClient) -> None:
    def content_hash(**changes: object) -> str:
        return api.post("/v1/studies", json=study_body(**changes)).json()["domain_set"]["content_hash"]

    base = study_body()["domains"]
    assert content_hash() == content_hash(name="another name")
    assert content_hash() != content_hash(domains=base[::-1])
    assert content_hash() != content_hash(domains=[base[0] | {"available_tokens": 4_999}, *base[1:]])


def _refusal(api: TestClient, **changes: object) -> dict:
    response = api.post("/v1/studies", json=study_body(**changes))
    assert response.status_code == 422, response.text
    assert response.headers["content-type"] == "application/problem+json"
    return response.json()


def test_incomplete_priors_name_the_domain(api: TestClient) -> None:
    domains = [{"name": "a", "prior": 1}, {"name": "b"}]
    assert _refusal(api, domains=domains)["errors"][0]["field"] == "domains.1.prior"


def test_a_name_given_twice_is_refused(api: TestClient) -> None:
    refusal = _refusal(api, domains=[{"name": "a"}, {"name": "a"}])
    assert refusal["errors"][0]["field"] == "domains.1.name"
    assert "'a' is named twice" in refusal["detail"]


def test_targets_without_weight_are_refused(api: TestClient) -> None:
    assert _refusal(api, targets=[{"name": "code", "weight": 0}])["errors"][0]["field"] == "targets"


def test_numbers_too_large_for_a_sum_are_refused(api: TestClient) -> None:
    huge = [{"name": "a", "prior": 1.7e308}, {"name": "b", "prior": 1.7e308}]
    assert _refusal(api, domains=huge)["errors"][0]["field"] == "domains"


def test_a_bound_on_an_unknown_domain_names_the_known_ones(api: TestClient) -> None:
    error = _refusal(api, constraints={"max_weights": {"cod": 0.5}})["errors"][0]
    assert error["field"] == "constraints.max_weights.cod"
    assert error["accepted"] == "code, law, web"


def test_constraints_that_no_mixture_satisfies_are_refused_at_once(api: TestClient) -> None:
    refusal = _refusal(api, constraints={"target_tokens": 100_000, "max_epochs": 4})
    assert refusal["type"] == "urn:mixwright:problem:infeasible"
    assert "4 epochs of all domains give 4e+04 tokens" in refusal["detail"]


def test_an_unknown_study_is_not_found(api: TestClient) -> None:
    response = api.get("/v1/studies/00000000-0000-7000-8000-000000000000")
    assert response.status_code == 404
    assert response.json()["detail"] == "there is no study 00000000-0000-7000-8000-000000000000"


def test_pages_of_studies_show_each_once_and_newest_first(api: TestClient, clock) -> None:
    made = []
    for _ in range(5):
        clock.advance(1)
        made.append(create_study(api))
    seen, cursor = [], None
    while True:
        query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = api.get("/v1/studies", params=query).json()
        seen += [study["id"] for study in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == made[::-1]


def test_a_cursor_of_another_make_is_refused(api: TestClient) -> None:
    for cursor in ("?", "abc", "x" * 90):
        response = api.get("/v1/studies", params={"cursor": cursor})
        assert response.status_code == 422
        assert response.json()["errors"][0]["field"] == "cursor"


def test_weights_off_by_rounding_are_renormalised_and_counted(api: TestClient) -> None:
    study = create_study(api)
    runs = [
        {"weights": weights(0.501, 0.3, 0.2), "settings": SETTINGS},
        {"weights": weights(0.5, 0.3, 0.2), "settings": SETTINGS},
    ]
    made = api.post(f"/v1/studies/{study}/runs", json={"runs": runs}).json()
    assert made["renormalised"] == 1
    assert abs(sum(made["runs"][0]["weights"].values()) - 1) < 1e-12
    assert made["runs"][1]["weights"] == weights(0.5, 0.3, 0.2)


def test_a_domain_left_out_has_weight_zero_and_order_follows_the_domain_set(api: TestClient) -> None:
    study = create_study(api)
    run = queue_runs(api, study, 1, weights={"web": 0.4, "code": 0.6})[0]
    assert list(run["weights"].items()) == [("code", 0.6), ("law", 0.0), ("web", 0.4)]


def _run_refusal(api: TestClient, run: dict) -> dict:
    study = create_study(api)
    good = {"weights": weights(0.5, 0.3, 0.2), "settings": SETTINGS}
    response = api.post(f"/v1/studies/{study}/runs", json={"runs": [good, run]})
    assert response.status_code == 422, response.text
    assert api.get(f"/v1/studies/{study}").json()["run_counts"]["queued"] == 0, "the good run of the batch was kept"
    return response.json()


def test_weights_that_do_not_sum_to_one_are_refused(api: TestClient) -> None:
    refusal = _run_refusal(api, {"weights": weights(0.5, 0.5, 0.3), "settings": SETTINGS})
    assert refusal["detail"] == "runs.1.weights: the weights sum to 1.3; accepted: a sum of 1, give or take 0.005"


def test_a_weight_of_an_unknown_domain_is_refused(api: TestClient) -> None:
    refusal = _run_refusal(api, {"weights": {"code": 0.5, "wep": 0.5}, "settings": SETTINGS})
    assert refusal["errors"][0]["field"] == "runs.1.weights.wep"


def test_negative_weights_are_refused(api: TestClient) -> None:
    refusal = _run_refusal(api, {"weights": weights(1.5, -0.5, 0), "settings": SETTINGS})
    assert refusal["errors"][0]["field"] == "runs.1.weights.law"


def test_a_run_needs_settings_or_losses(api: TestClient) -> None:
    assert "give either settings" in _run_refusal(api, {"weights": weights(1, 0, 0)})["detail"]


def test_losses_of_unknown_targets_are_refused(api: TestClient) -> None:
    refusal = _run_refusal(api, {"weights": weights(1, 0, 0), "losses": {"law": 1.0}})
    assert refusal["errors"][0] == {
        "field": "runs.1.losses.law",
        "message": "no such target",
        "accepted": "code, web",
    }


def test_a_run_trained_elsewhere_is_a_data_point_at_once(api: TestClient) -> None:
    study = create_study(api)
    run = {"weights": weights(1, 0, 0), "losses": {"code": 1.25}, "model_params": 10, "train_tokens": 20}
    made = api.post(f"/v1/studies/{study}/runs", json={"runs": [run]}).json()["runs"][0]
    assert (made["state"], made["source"]) == ("succeeded", "manual")
    assert made["losses"] == {"code": {"value": 1.25, "stderr": None}}
    assert (made["model_params"], made["train_tokens"]) == (10, 20)


def test_the_scale_of_a_queued_run_follows_from_its_settings(api: TestClient) -> None:
    run = queue_runs(api, create_study(api), 1)[0]
    # d 32, 2 layers, hidden 96: 2 (4*32^2 + 3*32*96 + 2*32) + 32
    assert run["model_params"] == 26_784
    assert run["train_tokens"] == 4096


def test_runs_are_listed_in_the_order_of_the_batch_and_filtered(api: TestClient) -> None:
    study = create_study(api)
    first = queue_runs(api, study, 4)
    queue_runs(api, study, 2, purpose="noise")
    api.post(f"/v1/runs/{first[1]['id']}/cancel")

    def listed(**query: object) -> list[str]:
        return [run["id"] for run in api.get(f"/v1/studies/{study}/runs", params=query).json()["items"]]

    assert listed(purpose="swarm") == [run["id"] for run in first]
    assert listed(purpose="swarm", state="queued") == [first[i]["id"] for i in (0, 2, 3)]
    assert len(listed(purpose="noise")) == 2
    assert api.get(f"/v1/studies/{study}").json()["run_counts"] == {
        "queued": 5, "leased": 0, "succeeded": 0, "failed": 0, "cancelled": 1, "pruned": 0, "stale": 0,
    }  # fmt: skip


def test_cancelling_twice_is_one_cancelling_and_an_ended_run_cannot_be_cancelled(api: TestClient) -> None:
    study = create_study(api)
    run = queue_runs(api, study, 1)[0]["id"]
    assert api.post(f"/v1/runs/{run}/cancel").json()["state"] == "cancelled"
    assert api.post(f"/v1/runs/{run}/cancel").status_code == 200
    ended = api.post(
        f"/v1/studies/{study}/runs", json={"runs": [{"weights": weights(1, 0, 0), "losses": {"code": 1.0}}]}
    ).json()["runs"][0]["id"]
    response = api.post(f"/v1/runs/{ended}/cancel")
    assert response.status_code == 409
    assert "has succeeded already" in response.json()["detail"]
    assert get_run(api, ended)["state"] == "succeeded"


def test_suggestions_lie_in_the_constraints_and_are_new(api: TestClient) -> None:
    study = create_study(api, constraints={"max_weights": {"code": 0.4}})
    queued = queue_runs(api, study, 1, weights=weights(0.4, 0.4, 0.2))[0]["weights"]
    answer = api.post(f"/v1/studies/{study}/suggestions", json={"count": 20, "seed": 3}).json()
    mixtures = [suggestion["weights"] for suggestion in answer["suggestions"]]
    assert len(mixtures) == 20
    assert all(abs(sum(mixture.values()) - 1) < 1e-9 and mixture["code"] <= 0.4 + 1e-9 for mixture in mixtures)
    assert queued not in mixtures
    again = api.post(f"/v1/studies/{study}/suggestions", json={"count": 20, "seed": 3}).json()
    assert again == answer, "a seed decides"


def test_an_unknown_design_names_the_known_ones(api: TestClient) -> None:
    response = api.post(f"/v1/studies/{create_study(api)}/suggestions", json={"count": 1, "design": "magic"})
    assert response.status_code == 422
    assert "dirichlet" in response.json()["errors"][0]["accepted"]
