-- Every SQL statement of the project, by name. Values are always parameters, never part of the text.
-- The first sentence says what a statement does and returns. Further sentences say why it is written this way.

-- name: find_people
-- Returns the parties that have one of the phones ($1) or e-mails ($2), each in several spellings. The payload is
-- NULL unless the party is enriched: otherwise only its CPF counts. The contact type must match, because an e-mail is
-- no phone. $3 limits the parties of a spelling: a value that thousands share identifies nobody, and reading all
-- their payloads would take too long.
WITH ranked AS (
    SELECT c.value, c.contact_type = 'email' AS is_email, c.source, c.created_at AS contact_at, p.id, p.cpf_cnpj, p.full_name, p.enriched, p.created_at,
           row_number() OVER (PARTITION BY c.value ORDER BY p.enriched DESC NULLS LAST, p.updated_at DESC NULLS LAST) AS place
    FROM core.party_contacts c
    JOIN core.parties p ON p.id = c.party_id
    WHERE (c.value = ANY ($1::text[]) AND c.contact_type IN ('phone', 'whatsapp'))
       OR (c.value = ANY ($2::text[]) AND c.contact_type = 'email')
)
SELECT
    r.value,
    r.is_email,
    r.source,
    r.contact_at,
    r.cpf_cnpj,
    r.full_name,
    CASE WHEN r.enriched THEN
        CASE WHEN e.normalized_data ? 'DadosBasicos' THEN e.normalized_data ELSE e.raw_payload END
    END AS payload,
    CASE WHEN r.enriched THEN e.enriched_at END AS enriched_at
FROM ranked r
LEFT JOIN core.party_enrichments e ON e.party_id = r.id AND r.enriched
WHERE r.place <= $3
ORDER BY e.enriched_at DESC NULLS LAST, r.created_at

-- name: find_by_cpf
-- Returns the parties of a CPF ($1: its spellings), enriched ones first: legacy data has several for one CPF.
SELECT
    NULL::timestamptz AS contact_at,
    p.cpf_cnpj,
    p.full_name,
    CASE WHEN p.enriched THEN
        CASE WHEN e.normalized_data ? 'DadosBasicos' THEN e.normalized_data ELSE e.raw_payload END
    END AS payload,
    CASE WHEN p.enriched THEN e.enriched_at END AS enriched_at
FROM core.parties p
LEFT JOIN core.party_enrichments e ON e.party_id = p.id
WHERE p.cpf_cnpj = ANY ($1::text[])
ORDER BY p.enriched DESC NULLS LAST, e.enriched_at DESC NULLS LAST, p.created_at

-- name: is_unanswered
-- Returns whether the Work API must not be asked for a CPF ($1) at the time $2, because it had no person for it.
SELECT EXISTS (SELECT FROM stream.unanswered_cpfs WHERE cpf = $1 AND until > $2)

-- name: save_unanswered
-- Stores until when ($3) a CPF must not be asked for again, and why. The later time stays, because an older call may
-- be stored after a newer one.
INSERT INTO stream.unanswered_cpfs (cpf, reason, until) VALUES ($1, $2, $3)
ON CONFLICT (cpf) DO UPDATE SET reason = excluded.reason, until = excluded.until
WHERE stream.unanswered_cpfs.until < excluded.until

-- name: find_answers
-- Returns Diretrix's stored answers for the aliases $1.
SELECT alias, candidates, asked_at FROM stream.answers WHERE alias = ANY ($1::text[])

-- name: save_answer
-- Stores Diretrix's answer for an alias and returns the alias. Returns no row if a newer answer is stored.
INSERT INTO stream.answers (alias, candidates, asked_at) VALUES ($1, $2, $3)
ON CONFLICT (alias) DO UPDATE SET candidates = excluded.candidates, asked_at = excluded.asked_at
WHERE stream.answers.asked_at <= excluded.asked_at
RETURNING alias

-- name: lock_cpf
-- Locks a CPF until the transaction ends. The lock replaces a unique constraint, which legacy data would violate, so
-- that a CPF gets one party. A client that vanishes loses the lock after 10 s.
SELECT set_config('idle_in_transaction_session_timeout', '10s', true),
       pg_advisory_xact_lock(hashtextextended('lead-stream/cpf/' || $1, 0))

-- name: party_of_cpf
-- Returns the id of the party of a CPF ($1: its spellings). Of several in legacy data it is always the same one.
SELECT id FROM core.parties WHERE cpf_cnpj = ANY ($1::text[]) ORDER BY enriched DESC NULLS LAST, created_at, id LIMIT 1

-- name: insert_party
-- Inserts a person that is not enriched and returns its id.
INSERT INTO core.parties (id, party_type, cpf_cnpj, full_name, normalized_name, enriched, created_at, updated_at)
VALUES (gen_random_uuid(), 'person', $1, $2, $3, false, now(), now())
RETURNING id

-- name: complete_party
-- Writes a person's facts into its party. $7 is the time of the call: a newer enrichment stays, because a write may
-- have waited for the database. A value that the answer lacks does not erase a stored one.
UPDATE core.parties
SET full_name = COALESCE(NULLIF($2, ''), full_name),
    normalized_name = COALESCE(NULLIF($3, ''), normalized_name),
    sex = COALESCE($4, sex),
    birth_date = COALESCE($5, birth_date),
    mother_name = COALESCE($6, mother_name),
    enriched = true,
    updated_at = now()
WHERE id = $1 AND NOT EXISTS (SELECT FROM core.party_enrichments WHERE party_id = $1 AND enriched_at > $7)

-- name: update_enrichment
-- Updates the enrichment of a party unless a newer one is stored. Returns whether the party has an enrichment.
WITH updated AS (
    UPDATE core.party_enrichments
    SET provider = 'work_api', raw_payload = $2, normalized_data = $2, enriched_at = $3
    WHERE party_id = $1 AND (enriched_at IS NULL OR enriched_at <= $3)
)
SELECT EXISTS (SELECT FROM core.party_enrichments WHERE party_id = $1)

-- name: insert_enrichment
-- Inserts the first enrichment of a party, with the answer in both payload columns, which the replaced service reads.
INSERT INTO core.party_enrichments
    (enrichment_id, party_id, provider, raw_payload, normalized_data, quality_score, enriched_at, created_at)
VALUES (gen_random_uuid(), $1, 'work_api', $2, $2, NULL, $3, now())

-- name: contacts_of_party
-- Returns the stored values of a party's contacts, in their spelling.
SELECT DISTINCT value FROM core.party_contacts WHERE party_id = $1

-- name: save_contacts
-- Adds contacts to a party: types ($2), values ($3), whatsapp ($4), sources ($5). If a contact exists, the source
-- `diretrix` replaces a weaker one: Diretrix named the person for it, while the others only listed it.
INSERT INTO core.party_contacts
    (contact_id, party_id, contact_type, value, is_primary, is_verified, is_whatsapp, source, created_at, updated_at)
SELECT gen_random_uuid(), $1, kind::core.contact_type_enum, value, false, false, whatsapp, source, now(), now()
FROM unnest($2::text[], $3::text[], $4::bool[], $5::text[]) AS new (kind, value, whatsapp, source)
ON CONFLICT (party_id, contact_type, value) DO UPDATE
SET is_whatsapp = core.party_contacts.is_whatsapp OR excluded.is_whatsapp,
    source = CASE WHEN excluded.source = 'diretrix' AND core.party_contacts.source IN ('lead', 'work_api')
                  THEN excluded.source ELSE core.party_contacts.source END,
    updated_at = now()

-- name: reserve_call
-- Reserves a call. Returns its id, or NULL if it is refused; `spent` and `abandoned` say why. Both the day's budget
-- ($9) and the share of each source are counted in one row of stream.budgets, and the statement sees the latest version
-- of the row that it locks, so concurrent workers can't overspend either. Half of the budget is shared equally by the
-- sources of the last seven days. Above its share a source uses the other half, as do calls that were counted before
-- shares existed. A call that was reserved before $11 and not settled belongs to a worker that died; after $12 such
-- calls of a webhook no further call is reserved for it.
WITH abandoned AS MATERIALIZED (
    SELECT count(*) AS calls FROM stream.paid_calls WHERE event_id = $5 AND status = 'reserved' AND reserved_at < $11
), recent AS MATERIALIZED (
    SELECT count(*) FILTER (WHERE source <> $6) + 1 AS sources FROM stream.sources_seen WHERE day > $7::date - 7
), share AS MATERIALIZED (
    SELECT $9::int / 2 / sources AS calls, $9::int - sources * ($9::int / 2 / sources) AS rest FROM recent
), budget AS (
    INSERT INTO stream.budgets AS b (provider, day, calls, by_source)
    SELECT $2, $7, 1, jsonb_build_object($6::text, 1) FROM abandoned
    WHERE abandoned.calls < $12::int AND ($9::int IS NULL OR $9 > 0)
    ON CONFLICT (provider, day) DO UPDATE
    SET calls = b.calls + 1,
        by_source = b.by_source || jsonb_build_object($6::text, COALESCE((b.by_source ->> $6)::int, 0) + 1)
    WHERE $9::int IS NULL OR (b.calls < $9 AND (
        COALESCE((b.by_source ->> $6)::int, 0) < (SELECT calls FROM share)
        OR b.calls - (SELECT COALESCE(sum(LEAST(value::int, (SELECT calls FROM share))), 0)
                      FROM jsonb_each_text(b.by_source)) < (SELECT rest FROM share)))
    RETURNING calls
), call AS (
    INSERT INTO stream.paid_calls (id, provider, kind, alias, event_id, source, day, price, reserved_at)
    SELECT $1, $2, $3, $4, $5, $6, $7, $8, $10 FROM budget
    RETURNING id
), seen AS (
    INSERT INTO stream.sources_seen (source, day)
    SELECT $6, $7 WHERE NOT EXISTS (SELECT FROM stream.sources_seen WHERE source = $6 AND day >= $7)
    ON CONFLICT (source) DO UPDATE SET day = GREATEST(stream.sources_seen.day, excluded.day)
)
SELECT (SELECT id FROM call) AS call,
       COALESCE((SELECT calls FROM budget),
                (SELECT calls FROM stream.budgets WHERE provider = $2 AND day = $7), 0) AS spent,
       abandoned.calls AS abandoned
FROM abandoned

-- name: settle_call
-- Settles a reserved call. A free call is given back to the day's budget and to its source's share; no row is returned.
-- For any other call the provider, the day and the number of that day's calls are returned, unsettled ones included.
WITH settled AS (
    UPDATE stream.paid_calls SET status = $2, settled_at = $3 WHERE id = $1 AND status = 'reserved'
    RETURNING provider, day, status, source
), given_back AS (
    UPDATE stream.budgets b
    SET calls = b.calls - 1,
        by_source = b.by_source || jsonb_build_object(s.source, GREATEST(COALESCE((b.by_source ->> s.source)::int, 0) - 1, 0))
    FROM settled s WHERE s.status = 'free' AND b.provider = s.provider AND b.day = s.day AND b.calls > 0
)
SELECT b.provider, b.day, b.calls FROM settled s JOIN stream.budgets b USING (provider, day) WHERE s.status <> 'free'

-- name: sync_sources
-- Notes that the sources $1 sent webhooks on the day $2. Returns all sources of the last seven days. It writes only
-- sources that are not noted for the day, in one order, so that workers do not wait for each other's locks.
WITH seen AS (
    INSERT INTO stream.sources_seen (source, day)
    SELECT new.source, $2 FROM unnest($1::text[]) AS new (source)
    WHERE NOT EXISTS (SELECT FROM stream.sources_seen old WHERE old.source = new.source AND old.day >= $2)
    ORDER BY new.source
    ON CONFLICT (source) DO UPDATE SET day = GREATEST(stream.sources_seen.day, excluded.day)
)
SELECT source FROM stream.sources_seen WHERE day > $2::date - 7
UNION
SELECT unnest($1::text[])

-- name: add_notice
-- Adds a notice and returns its id. Returns no row if the notice exists, so only the first process logs it.
INSERT INTO stream.notices (kind, key, day, text) VALUES ($1, $2, $3, $4)
ON CONFLICT (kind, key) DO NOTHING
RETURNING id

-- name: take_lease
-- Leases a CPF for the duration $2 and returns it. Returns no row while another holder has it. It uses the database's
-- clock, because the workers' clocks may differ by more than a lease lasts. $4: whether an expired lease may be taken
-- over; not right after an outage, during which its holder could not renew it.
INSERT INTO stream.leases (cpf, until, holder) VALUES ($1, clock_timestamp() + $2, $3)
ON CONFLICT (cpf) DO UPDATE SET until = excluded.until, holder = excluded.holder
WHERE stream.leases.until < clock_timestamp() AND $4
RETURNING cpf

-- name: renew_leases
-- Renews the leases of a process ($1) on the CPFs $2, except those that another process has taken over. Rows are
-- locked in one order, so that two processes can't deadlock.
WITH held AS (
    SELECT cpf FROM stream.leases WHERE holder = $1 AND cpf = ANY ($2::text[]) ORDER BY cpf FOR UPDATE
)
UPDATE stream.leases l SET until = clock_timestamp() + $3 FROM held WHERE l.cpf = held.cpf

-- name: drop_lease
-- Releases a lease. The holder ($2) must match, because an expired lease may belong to another worker by now.
DELETE FROM stream.leases WHERE cpf = $1 AND holder = $2

-- name: calls_by_day
-- Returns the number and the price of the calls from $1 to $2 for each day, provider, source and status. A call that
-- is not settled counts as unsure, because it may be billed.
SELECT day, provider, source, CASE status WHEN 'reserved' THEN 'unsure' ELSE status END AS status,
       count(*) AS calls, sum(price) AS money
FROM stream.paid_calls
WHERE day BETWEEN $1 AND $2
GROUP BY 1, 2, 3, 4
ORDER BY 1, 2, 3, 4

-- name: answered_by_day
-- Returns the number of webhooks, and of webhooks that paid Diretrix, from $1 to $2 for each day, source, outcome and
-- tier. The ledger says which webhook paid, because one that was parked, or whose worker died, after its call has
-- paid as well. That call may be of a later day than the webhook, or of the day before if clocks differ at midnight.
SELECT a.day, a.source, a.outcome, a.tier, count(*) AS webhooks, count(p.event_id) AS paying
FROM stream.answered a
LEFT JOIN (
    SELECT DISTINCT event_id FROM stream.paid_calls
    WHERE day >= $1::date - 1 AND provider = 'diretrix' AND status <> 'free'
) p ON p.event_id = a.event_id
WHERE a.day BETWEEN $1 AND $2
GROUP BY 1, 2, 3, 4
ORDER BY 1, 2, 3, 4

-- name: calls_without_answer
-- Returns the number of calls from $1 to $2 whose webhooks the journal has not written (yet).
SELECT count(*) FROM stream.paid_calls c
WHERE c.day BETWEEN $1 AND $2 AND NOT EXISTS (SELECT FROM stream.answered a WHERE a.event_id = c.event_id)

-- name: people_answered
-- Returns the number of distinct contacts from $1 to $2, without tests and webhooks without a contact.
SELECT count(DISTINCT contact_key) FROM stream.answered WHERE day BETWEEN $1 AND $2 AND outcome NOT IN ('test', 'no_contact')

-- name: record_answered
-- Stores answered webhooks, given as one array for each column. The first final answer of a webhook stays. A pending
-- one is replaced by a later one, and its calls are added up.
INSERT INTO stream.answered
    (event_id, day, source, lead_id, contact_key, outcome, tier, diretrix_calls, work_calls, received_at, emitted_at)
SELECT * FROM unnest($1::uuid[], $2::date[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::int[], $9::int[],
                     $10::timestamptz[], $11::timestamptz[])
ON CONFLICT (event_id) DO UPDATE
SET outcome = excluded.outcome,
    tier = excluded.tier,
    diretrix_calls = stream.answered.diretrix_calls + excluded.diretrix_calls,
    work_calls = stream.answered.work_calls + excluded.work_calls,
    emitted_at = excluded.emitted_at
WHERE stream.answered.outcome = 'pending' AND excluded.emitted_at > stream.answered.emitted_at

-- name: record_webhook_events
-- Writes the events into the table of the replaced service. The first processed_at stays, so that a replay does not
-- change the averages. A Google lead without a time of submission uses the time when it was first received. Events
-- with different ids may share a row; DISTINCT ON keeps one of them, because a statement can update a row only once.
INSERT INTO public.webhook_events
    (id, lead_id, updated_at, hook_action, received_at, processed_at, status, created_at, updated_at_ts)
SELECT DISTINCT ON (new.lead_id, COALESCE(new.updated_at, a.received_at))
       gen_random_uuid(), new.lead_id, COALESCE(new.updated_at, a.received_at), new.hook_action, new.received_at,
       new.processed_at, new.status, now(), now()
FROM unnest($1::uuid[], $2::text[], $3::timestamptz[], $4::text[], $5::timestamptz[], $6::timestamptz[], $7::text[])
     AS new (event_id, lead_id, updated_at, hook_action, received_at, processed_at, status)
JOIN stream.answered a ON a.event_id = new.event_id
ORDER BY new.lead_id, COALESCE(new.updated_at, a.received_at), new.processed_at NULLS LAST
ON CONFLICT (lead_id, updated_at) DO UPDATE
SET processed_at = COALESCE(public.webhook_events.processed_at, excluded.processed_at),
    status = CASE WHEN public.webhook_events.status = 'completed' THEN 'completed' ELSE excluded.status END,
    updated_at_ts = now()

-- name: claim_lead
-- Claims the creation of a lead and returns its id. Returns no row if it was claimed before.
INSERT INTO stream.crm_leads (source, lead_id, status) VALUES ($1, $2, 'claimed')
ON CONFLICT (source, lead_id) DO NOTHING
RETURNING lead_id

-- name: reclaim_lead
-- Claims the creation of a lead again, as reclaim_message does; $3 is its $4.
UPDATE stream.crm_leads SET status = 'claimed', claimed_at = now(), confirmed_at = NULL
WHERE source = $1 AND lead_id = $2
  AND (status = 'refused' OR ($3::interval IS NOT NULL AND (
      status = 'unconfirmed' OR (status = 'claimed' AND claimed_at < now() - $3::interval))))
RETURNING lead_id

-- name: find_lead
-- Returns the CRM's id, if known, and the status of a lead that we created or tried to create.
SELECT c2s_id, status FROM stream.crm_leads WHERE source = $1 AND lead_id = $2

-- name: lead_has_result
-- Returns whether the call of a claimed creation has ended, as message_has_result does.
WITH given_up AS (
    UPDATE stream.crm_leads SET status = 'unconfirmed', confirmed_at = now()
    WHERE source = $1 AND lead_id = $2 AND status = 'claimed' AND claimed_at < now() - $3::interval
    RETURNING lead_id)
SELECT EXISTS (SELECT FROM given_up)
    OR EXISTS (SELECT FROM stream.crm_leads WHERE source = $1 AND lead_id = $2 AND status <> 'claimed')

-- name: mark_lead
-- Stores the result of a creation. Without a new id ($4) the stored one stays.
UPDATE stream.crm_leads SET status = $3, c2s_id = COALESCE($4, c2s_id), confirmed_at = now()
WHERE source = $1 AND lead_id = $2

-- name: release_lead
-- Removes the claim of a creation that was not carried out, unless the claim has a result already.
DELETE FROM stream.crm_leads WHERE source = $1 AND lead_id = $2 AND status = 'claimed'

-- name: claim_message
-- Claims the message with the facts $2 to a lead and returns the lead. Returns no row if it was claimed before.
INSERT INTO stream.crm_deliveries (c2s_id, facts, event_id, status) VALUES ($1, $2, $3, 'claimed')
ON CONFLICT (c2s_id, facts) DO NOTHING
RETURNING c2s_id

-- name: is_told
-- Returns whether the facts were written to a lead, or may have been.
SELECT EXISTS (SELECT FROM stream.crm_deliveries WHERE c2s_id = $1 AND facts = $2 AND status <> 'refused')

-- name: reclaim_message
-- Claims a refused message again and returns its lead; unless $4 is NULL, also an unconfirmed one, and one whose claim
-- is older than $4. A younger claim belongs to a call in progress. It is one statement, so that only one of several
-- processes gets the message.
UPDATE stream.crm_deliveries
SET status = 'claimed', event_id = $3, reason = NULL, claimed_at = now(), confirmed_at = NULL
WHERE c2s_id = $1 AND facts = $2
  AND (status = 'refused' OR ($4::interval IS NOT NULL AND (
      status = 'unconfirmed' OR (status = 'claimed' AND claimed_at < now() - $4::interval))))
RETURNING c2s_id

-- name: message_has_result
-- Returns whether the call of a claimed message has ended; the caller then completes its event. A claim that is older
-- than $3 becomes unconfirmed in the same statement, so that its maker can't release it any more: a later release would
-- leave no claim and no event that causes the call.
WITH given_up AS (
    UPDATE stream.crm_deliveries SET status = 'unconfirmed', reason = 'nobody said how it ended', confirmed_at = now()
    WHERE c2s_id = $1 AND facts = $2 AND status = 'claimed' AND claimed_at < now() - $3::interval
    RETURNING c2s_id)
SELECT EXISTS (SELECT FROM given_up)
    OR EXISTS (SELECT FROM stream.crm_deliveries WHERE c2s_id = $1 AND facts = $2 AND status <> 'claimed')

-- name: mark_message
-- Stores the result of a message's call, and the reason if it failed.
UPDATE stream.crm_deliveries SET status = $3, reason = $4, confirmed_at = now() WHERE c2s_id = $1 AND facts = $2

-- name: release_message
-- Removes the claim of a message that was not sent, unless the claim has a result already.
DELETE FROM stream.crm_deliveries WHERE c2s_id = $1 AND facts = $2 AND status = 'claimed'

-- name: unconfirmed
-- Returns all writes that may have been carried out, oldest first: unconfirmed ones and claims without a result.
SELECT 'message' AS kind, c2s_id AS lead, facts, event_id::text, status, claimed_at
FROM stream.crm_deliveries WHERE status IN ('claimed', 'unconfirmed')
UNION ALL
SELECT 'lead', lead_id, '', '', status, claimed_at FROM stream.crm_leads WHERE status IN ('claimed', 'unconfirmed')
ORDER BY claimed_at
