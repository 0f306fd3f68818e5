-- A core schema as large as production's: $parties people with 2.6 contacts each, a fifth of them enriched.
-- Everything follows from a party's number, so that the benchmark knows whom it may ask for. What stands between two
-- "step" lines may be done at once.

-- Filled without indexes, which are built once afterwards: half the time.
ALTER TABLE core.party_contacts
    DROP CONSTRAINT party_contacts_party_id_fkey,
    DROP CONSTRAINT party_contacts_pkey,
    DROP CONSTRAINT party_contacts_party_id_contact_type_value_key;
ALTER TABLE core.party_enrichments
    DROP CONSTRAINT party_enrichments_party_id_fkey,
    DROP CONSTRAINT party_enrichments_pkey,
    DROP CONSTRAINT party_enrichments_party_id_key;
ALTER TABLE core.parties DROP CONSTRAINT parties_pkey;
DROP INDEX core.party_contacts_value_idx, core.parties_cpf_cnpj_idx, core.party_enrichments_enriched_at_idx;

-- National number of a party: area, 9, and eight digits that no other number of this table has.
CREATE SCHEMA bench;

CREATE FUNCTION bench.phone(n bigint) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT (ARRAY['11', '21', '31', '41', '51', '61', '71', '81'])[1 + n % 8] || '9' || (60000000 + n * 7919 % 40000000)::text
$$;

CREATE FUNCTION bench.party(n bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$ SELECT md5('party' || n)::uuid $$;

-- step

INSERT INTO core.parties (id, party_type, cpf_cnpj, full_name, normalized_name, sex, enriched, created_at, updated_at)
SELECT bench.party(n), 'person', lpad((n * 98765 % 99999999999)::text, 11, '0'),
       'PESSOA ' || md5(n::text), 'PESSOA ' || md5(n::text), 'F', n % 5 = 0,
       now() - n % 1000 * interval '1 day', now() - n % 300 * interval '1 day'
FROM generate_series(1::bigint, $parties) n;

-- Half of the phones with 55, some as they were before the ninth digit; every twentieth party shares its neighbour's.
INSERT INTO core.party_contacts (party_id, contact_type, value, is_primary, is_whatsapp, source, created_at, updated_at)
SELECT bench.party(n), 'phone'::core.contact_type_enum,
       CASE WHEN n % 2 = 0 THEN '55' ELSE '' END
       || CASE WHEN n % 10 = 3 THEN left(phone, 2) || right(phone, 8) ELSE phone END,
       true, n % 3 = 0, (ARRAY['c2s', 'import', 'work_api'])[1 + n % 3], now(), now()
FROM generate_series(1::bigint, $parties) n, bench.phone(n - (n % 20 = 0)::int) phone
UNION ALL
SELECT bench.party(n), 'email', 'pessoa.' || n || '@example.com.br', false, false, 'import', now(), now()
FROM generate_series(1::bigint, $parties) n
UNION ALL
SELECT bench.party(n), 'whatsapp', '55' || bench.phone(n + $parties), false, true, 'work_api', now(), now()
FROM generate_series(1::bigint, $parties * 6 / 10) n;

-- The Work API's answers, about 4 KB of JSON, most of them as the replaced service left them.
INSERT INTO core.party_enrichments (party_id, provider, raw_payload, normalized_data, enriched_at)
SELECT bench.party(n), 'work_api', payload, CASE WHEN n % 25 = 0 THEN payload ELSE '{}' END, now() - n % 170 * interval '1 day'
FROM generate_series(5::bigint, $parties, 5) n,
LATERAL (SELECT jsonb_build_object(
    'lead_id', md5(n::text),
    'DadosBasicos', jsonb_build_object(
        'nome', 'PESSOA ' || md5(n::text), 'cpf', lpad((n * 98765 % 99999999999)::text, 11, '0'), 'sexo', 'F - FEMININO',
        'dataNascimento', '02/03/1980', 'nomeMae', 'MARIA ' || md5((n + 1)::text), 'situacaoCadastral', 'REGULAR'),
    'DadosEconomicos', jsonb_build_object('renda', n % 20000 || ',50', 'score', jsonb_build_object('scoreCSB', n % 1000)),
    'profissao', 'PROFESSOR',
    'empregos', (SELECT jsonb_agg(jsonb_build_object('empresa', md5((n * i)::text), 'admissao', '01/02/2003', 'cbo', i))
                 FROM generate_series(1, 4) i),
    'enderecos', (SELECT jsonb_agg(jsonb_build_object(
                      'tipoLogradouro', 'RUA', 'logradouro', md5((n + i)::text), 'logradouroNumero', i::text,
                      'complemento', '', 'bairro', 'CENTRO', 'cidade', 'SAO PAULO', 'uf', 'SP', 'cep', '01310100'))
                  FROM generate_series(1, 5) i),
    'telefones', (SELECT jsonb_agg(jsonb_build_object(
                      'telefone', bench.phone(n + i - 1), 'status', 'ATIVO', 'tipo', 'CELULAR', 'operadora', 'VIVO', 'whatsapp', 'SIM'))
                  FROM generate_series(1, 8) i),
    'emails', jsonb_build_array(jsonb_build_object('email', 'pessoa.' || n || '@example.com.br', 'prioridade', '1', 'blacklist', null)),
    'parentes', (SELECT jsonb_agg(jsonb_build_object('nome', md5((n - i)::text), 'grau', 'IRMAO', 'cpf', lpad((n * i)::text, 11, '0')))
                 FROM generate_series(1, 8) i)
) AS payload) made;

-- What Diretrix was asked for so far.
INSERT INTO stream.answers (alias, candidates, asked_at)
SELECT 'p:+55' || bench.phone(n), jsonb_build_array(jsonb_build_array('PESSOA ' || md5(n::text), lpad((n * 98765 % 99999999999)::text, 11, '0'))),
       now() - n % 170 * interval '1 day'
FROM generate_series(10::bigint, $parties, 10) n;

-- step

ALTER TABLE core.parties ADD PRIMARY KEY (id);
ALTER TABLE core.party_enrichments ADD PRIMARY KEY (enrichment_id), ADD UNIQUE (party_id);
ALTER TABLE core.party_contacts ADD PRIMARY KEY (contact_id), ADD UNIQUE (party_id, contact_type, value);

-- step

CREATE INDEX party_contacts_value_idx ON core.party_contacts (value);
CREATE INDEX parties_cpf_cnpj_idx ON core.parties (cpf_cnpj);
CREATE INDEX party_enrichments_enriched_at_idx ON core.party_enrichments (enriched_at);

-- step

ALTER TABLE core.party_contacts ADD FOREIGN KEY (party_id) REFERENCES core.parties (id);
ALTER TABLE core.party_enrichments ADD FOREIGN KEY (party_id) REFERENCES core.parties (id);
DROP SCHEMA bench CASCADE;

-- step
-- As autovacuum has done in production long ago.

VACUUM ANALYZE core.parties;
VACUUM ANALYZE core.party_contacts;
VACUUM ANALYZE core.party_enrichments;
VACUUM ANALYZE stream.answers;
