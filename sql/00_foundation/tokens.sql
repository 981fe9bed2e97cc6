-- Tokens: JSON Web Tokens (RFC 7519), HS256 and nothing else, good for one transaction at a time. The audience is this
-- store in this cluster and database, so a restored copy accepts none that was issued before.
CREATE FUNCTION guestcomms_internal.current_identity(OUT system_identifier bigint, OUT database_oid bigint)
LANGUAGE sql STABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
    SELECT c.system_identifier, d.oid::bigint
    FROM pg_control_system() AS c, pg_catalog.pg_database AS d
    WHERE d.datname = current_database()
$$;
COMMENT ON FUNCTION guestcomms_internal.current_identity() IS 'The cluster and database that transaction ids are of.';

CREATE FUNCTION guestcomms_internal.token_audience() RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
    SELECT encode(sha256(convert_to(concat_ws('|', s.store_id, i.system_identifier, i.database_oid), 'UTF8')), 'hex')
    FROM guestcomms_internal.store_identity AS s, guestcomms_internal.current_identity() AS i
$$;
COMMENT ON FUNCTION guestcomms_internal.token_audience() IS 'The aud claim of this store''s tokens.';

CREATE FUNCTION guestcomms_internal.base64url_encode(data bytea) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN rtrim(translate(encode(data, 'base64'), E'+/\n', '-_'), '=');
COMMENT ON FUNCTION guestcomms_internal.base64url_encode(bytea) IS 'RFC 4648 base64url without padding.';

CREATE FUNCTION guestcomms_internal.base64url_decode(data text) RETURNS bytea
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN decode(rpad(translate(data, '-_', '+/'), (char_length(data) + 3) / 4 * 4, '='), 'base64');
COMMENT ON FUNCTION guestcomms_internal.base64url_decode(text) IS 'Inverse of base64url_encode().';

CREATE FUNCTION guestcomms_internal.read_token_part(part text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN convert_from(guestcomms_internal.base64url_decode(part), 'UTF8')::jsonb;
EXCEPTION
    WHEN invalid_parameter_value OR invalid_text_representation OR character_not_in_repertoire OR untranslatable_character
        OR numeric_value_out_of_range OR program_limit_exceeded OR statement_too_complex THEN
        RETURN NULL;
END $$;
COMMENT ON FUNCTION guestcomms_internal.read_token_part(text) IS 'Decoded JSON of a token''s part, NULL where it is none.';

CREATE FUNCTION guestcomms.issue_token(
    tenant_id uuid,
    valid_for interval DEFAULT '15 minutes',
    role_name text DEFAULT 'guestcomms_app'
) RETURNS text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_key guestcomms_internal.store_secrets;
    v_longest interval := guestcomms_internal.setting('token.max_lifetime')::interval;
    v_issued bigint := floor(extract(epoch FROM clock_timestamp()));
    v_token_id uuid := gen_random_uuid();
    v_signed text;
BEGIN
    IF issue_token.valid_for IS NULL OR issue_token.valid_for <= interval '0' OR issue_token.valid_for > v_longest THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'valid_for is out of bounds',
            DETAIL = format('It must be above 0 and at most %s.', v_longest),
            HINT = 'An operator may raise the setting token.max_lifetime.';
    END IF;
    IF issue_token.role_name IS NULL OR issue_token.role_name NOT IN ('guestcomms_app', 'guestcomms_analyst', 'guestcomms_privacy') THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'no token is issued for that role',
            HINT = 'Roles: guestcomms_app, guestcomms_analyst, guestcomms_privacy.';
    END IF;
    IF NOT EXISTS (SELECT FROM guestcomms.tenants AS t WHERE t.tenant_id = issue_token.tenant_id AND t.closed_at IS NULL) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'there is no such tenant, or it is closed',
            HINT = 'add_tenant() returns the tenant_id to use.';
    END IF;
    SELECT * INTO STRICT v_key FROM guestcomms_internal.store_secrets AS s
    WHERE s.purpose = 'token' AND s.retired_at IS NULL
    ORDER BY s.created_at DESC LIMIT 1;
    v_signed := concat_ws('.',
        guestcomms_internal.base64url_encode(convert_to(jsonb_build_object('alg', 'HS256', 'typ', 'JWT', 'kid', v_key.key_id)::text, 'UTF8')),
        guestcomms_internal.base64url_encode(convert_to(jsonb_build_object(
            'aud', guestcomms_internal.token_audience(),
            'tenant', issue_token.tenant_id,
            'role', issue_token.role_name,
            'iat', v_issued,
            'exp', v_issued + ceil(extract(epoch FROM issue_token.valid_for)),
            'jti', v_token_id)::text, 'UTF8')));
    PERFORM guestcomms_internal.record_audit(issue_token.tenant_id, 'issue_token', 'token ' || v_token_id,
        jsonb_build_object('role', issue_token.role_name, 'valid_for', issue_token.valid_for));
    RETURN v_signed || '.' || guestcomms_internal.base64url_encode(guestcomms_internal.hmac_sha256(convert_to(v_signed, 'UTF8'), v_key.secret));
END $$;
COMMENT ON FUNCTION guestcomms.issue_token(uuid, interval, text) IS
$$A signed token that opens one tenant to whoever presents it through use_token() with a login that has the given group role, until it expires. For the role guestcomms_issuer, which an application's sign-in service has.
Example: SELECT guestcomms.issue_token('6f9c0c3e-0d1f-4a53-9d2b-2f1d8d1f6a11', valid_for => '5 minutes');
See also: use_token, rotate_token_key$$;

CREATE FUNCTION guestcomms.use_token(token text) RETURNS uuid
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_parts text[] := string_to_array(use_token.token, '.');
    v_header jsonb;
    v_claims jsonb;
    v_secret bytea;
    v_seconds double precision;
    v_problem text;
BEGIN
    IF cardinality(v_parts) = 3 AND octet_length(use_token.token) <= 4096 THEN
        v_header := guestcomms_internal.read_token_part(v_parts[1]);
        SELECT s.secret INTO v_secret FROM guestcomms_internal.store_secrets AS s
        WHERE s.purpose = 'token' AND s.key_id = v_header ->> 'kid' AND coalesce(s.retired_at > clock_timestamp(), true);
    END IF;
    IF v_secret IS NULL OR v_header ->> 'alg' IS DISTINCT FROM 'HS256'
        -- As text: the last character's two spare bits would make other spellings of the same bytes.
        OR guestcomms_internal.hmac_sha256(convert_to(guestcomms_internal.base64url_encode(guestcomms_internal.hmac_sha256(convert_to(v_parts[1] || '.' || v_parts[2], 'UTF8'), v_secret)), 'UTF8'),
            v_secret) IS DISTINCT FROM guestcomms_internal.hmac_sha256(convert_to(v_parts[3], 'UTF8'), v_secret)
    THEN
        v_problem := 'It was not signed by this store, or its key has been retired.';
    ELSE
        -- What we signed we wrote: the claims need no further checks of form.
        v_claims := guestcomms_internal.read_token_part(v_parts[2]);
        v_seconds := (v_claims ->> 'exp')::double precision - extract(epoch FROM clock_timestamp());
        IF v_claims ->> 'aud' IS DISTINCT FROM guestcomms_internal.token_audience() THEN
            v_problem := 'It was issued by another store, or before this one was restored.';
        ELSIF v_seconds <= 0 THEN
            v_problem := 'It has expired.';
        ELSIF NOT pg_has_role(guestcomms_internal.acting_role(), (v_claims ->> 'role')::name, 'USAGE') THEN
            v_problem := 'It is for another role than the one this connection acts as.';
        ELSIF NOT EXISTS (SELECT FROM guestcomms.tenants AS t WHERE t.tenant_id = (v_claims ->> 'tenant')::uuid AND t.closed_at IS NULL) THEN
            v_problem := 'Its tenant is closed.';
        END IF;
    END IF;
    IF v_problem IS NOT NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_authorization_specification',
            MESSAGE = 'the token opens nothing',
            DETAIL = v_problem,
            HINT = 'Ask the sign-in service for a new one: guestcomms.issue_token().';
    END IF;
    PERFORM guestcomms_internal.require_replayed();
    PERFORM guestcomms_internal.write_context('token', (v_claims ->> 'tenant')::uuid, make_interval(secs => v_seconds));
    RETURN (v_claims ->> 'tenant')::uuid;
END $$;
COMMENT ON FUNCTION guestcomms.use_token(text) IS
$$Opens the token's tenant until the transaction ends, and returns its tenant_id. Fit for pooled connections: nothing is left behind for the next client.
Example: BEGIN; SELECT guestcomms.use_token('eyJhbGciOi...'); SELECT guestcomms.current_tenant(); COMMIT;
See also: issue_token, use_tenant$$;

CREATE FUNCTION guestcomms.rotate_token_key(overlap interval DEFAULT '1 day') RETURNS text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_key_id text := encode(guestcomms_internal.random_bytes(6), 'hex');
BEGIN
    IF rotate_token_key.overlap IS NULL OR rotate_token_key.overlap < interval '0' THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'overlap must not be negative',
            HINT = 'Zero refuses all tokens issued so far at once.';
    END IF;
    UPDATE guestcomms_internal.store_secrets AS s
    SET retired_at = least(s.retired_at, clock_timestamp() + rotate_token_key.overlap)
    WHERE s.purpose = 'token';
    INSERT INTO guestcomms_internal.store_secrets (purpose, key_id, secret, created_at)
    VALUES ('token', v_key_id, guestcomms_internal.random_bytes(32), clock_timestamp());
    PERFORM guestcomms_internal.record_audit(guestcomms_internal.store_level(), 'rotate_token_key', 'key ' || v_key_id,
        jsonb_build_object('overlap', rotate_token_key.overlap));
    RETURN v_key_id;
END $$;
COMMENT ON FUNCTION guestcomms.rotate_token_key(interval) IS
$$Makes a new signing key for tokens and returns its id; tokens of older keys are accepted until the overlap ends.
Example: SELECT guestcomms.rotate_token_key(overlap => '1 hour');
See also: issue_token, use_token$$;
