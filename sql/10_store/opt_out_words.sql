-- STOP and START: a short message that is nothing but such a word, in any of the languages. Each is here because nobody says
-- it alone and means something else: so no yes, no alto (also: tall), no anmelden (also: to accept an invitation).
CREATE FUNCTION guestcomms_internal.opt_out_vocabulary() RETURNS TABLE (language text, stop_words text[], start_words text[])
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
    -- Folded, as fold_opt_out() leaves them.
    VALUES
        ('ar', '{توقف,قف,اوقف,ايقاف,الغاء,الغاء الاشتراك,ايقاف الرسايل}'::text[], '{ابدا,بدء,اشترك}'::text[]),
        ('bg', '{стоп,спри,отпиши ме,отписване}', '{старт,започни}'),
        ('ca', '{atura,baixa,donar me de baixa}', '{comencar}'),
        ('cs', '{stop,odhlasit,ukoncit,zrusit odber}', '{obnovit odber}'),
        ('da', '{stop,stopp,afmeld,frameld}', '{genstart}'),
        ('de', '{stop,stopp,stoppen,abmelden,abbestellen,austragen,keine werbung}', '{start,starten}'),
        ('el', '{στοπ,σταματα,σταματηστε,διαγραφη,διακοπη,απεγγραφη}', '{εναρξη,εκκινηση,ξεκινα}'),
        ('en', '{stop,stopall,stop all,please stop,stop please,unsubscribe,end,cancel,quit,revoke,optout,opt out}', '{start,unstop,subscribe,optin,opt in}'),
        ('es', '{parar,baja,darme de baja,dar de baja,detener,cancelar,cancelar suscripcion}', '{empezar,iniciar,reanudar,darme de alta}'),
        ('fa', '{توقف,لغو,لغو اشتراك}', '{شروع}'),
        ('fi', '{stop,seis,lopeta,peruuta tilaus}', '{aloita}'),
        ('fr', '{stop,arret,arreter,arretez,desabonner,me desabonner,desabonnement,desinscrire,desinscription}', '{demarrer,reabonner,me reabonner}'),
        ('he', '{עצור,הפסק,הפסיקו,הסר,הסירו,הסרה,להסרה}', '{התחל,חידוש}'),
        ('hi', '{रोकें,रोको,बंद,बंद करें}', '{शुरू,शुरू करें}'),
        ('hr', '{stop,zaustavi,odjava,prekini}', '{nastavi}'),
        ('hu', '{stop,allj,leiratkozas,leiratkozom}', '{inditas,ujrainditas}'),
        ('id', '{stop,berhenti,hentikan,unreg}', '{mulai}'),
        ('it', '{stop,basta,ferma,fermare,annulla iscrizione,disiscrivimi,disiscrizione,cancellami}', '{inizia,riprendi}'),
        ('ja', '{停止,配信停止,配信解除,登録解除,解除,退会,ストップ}', '{開始,再開,配信再開,スタート}'),
        ('ko', '{중지,정지,그만,거부,수신거부,수신 거부,해지,스톱}', '{시작,재개,수신동의,수신 동의}'),
        ('nl', '{stop,stoppen,afmelden,uitschrijven}', '{start,starten,hervatten}'),
        ('no', '{stopp,stop,slutt,avmeld,avslutt}', '{start}'),
        ('pl', '{stop,rezygnuje,wypisz,wypisz mnie,zatrzymaj}', '{start,wznow}'),
        ('pt', '{parar,pare,sair,cancelar,descadastrar,cancelar inscricao}', '{iniciar,recomecar,reativar}'),
        ('ro', '{stop,opreste,dezabonare,ma dezabonez}', '{reabonare}'),
        ('ru', '{стоп,отписаться,отписка,отпишите,отпишите меня,прекратить}', '{старт,начать,возобновить}'),
        ('sk', '{stop,odhlasit,zrusit odber}', '{obnovit odber}'),
        ('sl', '{stop,ustavi,odjava}', '{nadaljuj}'),
        ('sv', '{stopp,stop,sluta,avsluta,avanmal,avregistrera}', '{start,starta}'),
        ('th', '{หยุด,หยุดส่ง,ยกเลิก}', '{เริ่ม}'),
        ('tr', '{stop,dur,durdur,iptal,ret,listeden cik,abonelikten cik}', '{basla,baslat}'),
        ('uk', '{стоп,відписатися,відписка,припинити,зупинити}', '{старт,почати,відновити}'),
        ('vi', '{huy dang ky,tu choi,dung lai,ngung nhan tin}', '{bat dau}'),
        ('zh', '{退订,退訂,停止,停止发送,停止發送,取消订阅,取消訂閱,td}', '{开始,開始,恢复订阅,恢復訂閱}')
$$;
COMMENT ON FUNCTION guestcomms_internal.opt_out_vocabulary() IS 'The words that stop messages and let them come again, by language; all work for every guest.';

CREATE FUNCTION guestcomms_internal.fold_opt_out(body text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
-- Every short message comes here, most of them plain ASCII. Of others marks come off decomposed letters (of Latin, Greek,
-- Cyrillic, Hebrew and Arabic; in other scripts they are part of the word), what cannot be seen goes, letters that are written
-- in two ways become one, and all between words becomes a space.
RETURN CASE WHEN body !~ '[^A-Za-z0-9 ]|  ' THEN btrim(lower(body COLLATE "C"))
    WHEN octet_length(body) = char_length(body) THEN btrim(regexp_replace(lower(body COLLATE "C"), '[^a-z0-9]+', ' ', 'g'))
    ELSE btrim(regexp_replace(
        translate(normalize(lower(regexp_replace(normalize(body, NFKD), '[\u0300-\u036F\u0591-\u05C7\u0610-\u061A\u0640\u064B-\u065F\u0670\u200B-\u200F\u202A-\u202E\u2060-\u2064\uFE00-\uFE0F\uFEFF]', '', 'g')), NFKC),
            'ıłøđςىیکة', 'ilodσييكه'),
        '[\s!-/:-@[-`{-~\u00A0-\u00BF\u060C\u061B\u061F\u0964\u2000-\u206F\u2190-\u2BFF\u3000-\u303F\U0001F000-\U0001FAFF]+', ' ', 'g')) END;
COMMENT ON FUNCTION guestcomms_internal.fold_opt_out(text) IS 'A text without case, accents, punctuation and pictures, its words one space apart.';

CREATE FUNCTION guestcomms_internal.opt_out_index() RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
BEGIN
    -- Computed once a session: the planner puts the result in its place.
    RETURN (SELECT jsonb_object_agg(w.word, w.is_stop) FROM (
        SELECT unnest(v.start_words), false FROM guestcomms_internal.opt_out_vocabulary() AS v
        UNION ALL SELECT unnest(v.stop_words), true FROM guestcomms_internal.opt_out_vocabulary() AS v) AS w (word, is_stop));
END $$;
COMMENT ON FUNCTION guestcomms_internal.opt_out_index() IS 'Every word of opt_out_vocabulary(), and whether it stops.';

CREATE FUNCTION guestcomms_internal.opt_out_meaning(body text, own jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
-- None has more than four words; most messages have.
RETURN CASE WHEN split_part(body, ' ', 5) = '' THEN coalesce(guestcomms_internal.opt_out_index() -> guestcomms_internal.fold_opt_out(body),
    CASE WHEN own IS NOT NULL THEN own -> guestcomms_internal.fold_opt_out(body) END)::boolean END;
COMMENT ON FUNCTION guestcomms_internal.opt_out_meaning(text, jsonb) IS
'Whether a text is a word that stops messages, true, or lets them come again, false; NULL for any other. own: words of the tenant beside those of the languages.';

CREATE FUNCTION guestcomms.set_opt_out_words(stop_words text[], start_words text[] DEFAULT '{}') RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_words text[] := ARRAY(SELECT coalesce(guestcomms_internal.fold_opt_out(w.word), '') FROM unnest(set_opt_out_words.stop_words || set_opt_out_words.start_words) AS w (word));
    v_count integer;
BEGIN
    IF cardinality(v_words) > 200 OR EXISTS (SELECT FROM unnest(v_words) AS w (word) WHERE char_length(w.word) NOT BETWEEN 1 AND 40 OR split_part(w.word, ' ', 5) <> '') THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'a word is too short or too long, or there are too many',
            DETAIL = format('%s words.', cardinality(v_words)), HINT = 'Up to 200, each of 1 to 4 words and 1 to 40 characters without punctuation.';
    ELSIF cardinality(v_words) <> (SELECT count(DISTINCT w.word) FROM unnest(v_words) AS w (word)) THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'a word is given twice',
            HINT = 'Case, accents and punctuation make no other word, and none can both stop and start.';
    END IF;
    DELETE FROM guestcomms.opt_out_words AS o WHERE o.tenant_id = v_tenant;
    INSERT INTO guestcomms.opt_out_words (tenant_id, word, is_stop)
    SELECT v_tenant, w.word, w.number <= coalesce(cardinality(set_opt_out_words.stop_words), 0) FROM unnest(v_words) WITH ORDINALITY AS w (word, number);
    GET DIAGNOSTICS v_count = ROW_COUNT;
    PERFORM guestcomms_internal.record_audit(v_tenant, 'set_opt_out_words', 'opt-out words', to_jsonb(v_words));
    RETURN v_count;
END $$;
COMMENT ON FUNCTION guestcomms.set_opt_out_words(text[], text[]) IS
$$Sets the current tenant's own words by which guests opt out (stop_words) and in again (start_words), in place of those set before, and returns how many they are. They are added to the words of the languages, which always work. For operators.
Example: SELECT guestcomms.set_opt_out_words('{no more,genug}', '{"i am back"}');
See also: list_opt_out_words, record_consent$$;

CREATE FUNCTION guestcomms.list_opt_out_words() RETURNS TABLE (word text, is_stop boolean, languages text[])
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 300 SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
BEGIN
    RETURN QUERY
    SELECT w.word, bool_or(w.is_stop), array_agg(w.language ORDER BY w.language) FILTER (WHERE w.language IS NOT NULL)
    FROM (
        SELECT unnest(v.stop_words), true, v.language FROM guestcomms_internal.opt_out_vocabulary() AS v
        UNION ALL SELECT unnest(v.start_words), false, v.language FROM guestcomms_internal.opt_out_vocabulary() AS v
        UNION ALL SELECT o.word, o.is_stop, NULL FROM guestcomms.opt_out_words AS o WHERE o.tenant_id = v_tenant
    ) AS w (word, is_stop, language)
    GROUP BY w.word
    ORDER BY 2 DESC, 1;
END $$;
COMMENT ON FUNCTION guestcomms.list_opt_out_words() IS
$$The words by which guests opt out (is_stop) and in again when their whole message is such a word, folded: without case, accents and punctuation. languages is null for the tenant's own.
Example: SELECT word FROM guestcomms.list_opt_out_words() WHERE is_stop AND 'fr' = ANY (languages);
See also: set_opt_out_words, check_contact_allowed$$;
