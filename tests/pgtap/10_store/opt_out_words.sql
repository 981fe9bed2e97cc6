-- The words by which guests opt out and in: written as they are compared, none of them both, and what folding makes one.
BEGIN;
SELECT no_plan();

SELECT is_empty($$ SELECT v.language, w.word, guestcomms_internal.fold_opt_out(w.word) FROM guestcomms_internal.opt_out_vocabulary() AS v
    CROSS JOIN LATERAL unnest(v.stop_words || v.start_words) AS w (word) WHERE guestcomms_internal.fold_opt_out(w.word) <> w.word $$, 'each folds to itself');
SELECT is_empty($$ SELECT w.word FROM guestcomms_internal.opt_out_vocabulary() AS v CROSS JOIN LATERAL unnest(v.stop_words) AS w (word)
    INTERSECT SELECT w.word FROM guestcomms_internal.opt_out_vocabulary() AS v CROSS JOIN LATERAL unnest(v.start_words) AS w (word) $$, 'none stops and starts');
SELECT is_empty($$ SELECT w.word FROM guestcomms_internal.opt_out_vocabulary() AS v CROSS JOIN LATERAL unnest(v.stop_words || v.start_words) AS w (word)
    WHERE char_length(w.word) > 40 OR split_part(w.word, ' ', 5) <> '' $$, 'none is longer than what is looked at');
SELECT is(guestcomms_internal.opt_out_index() -> 'stop', 'true'::jsonb);
SELECT is(guestcomms_internal.opt_out_index() -> 'start', 'false'::jsonb);
SELECT is(guestcomms_internal.opt_out_index() -> 'please stop by at six', NULL::jsonb);

SELECT is_empty($$ SELECT s.said FROM (SELECT string_agg(chr(c), '') AS said FROM generate_series(32, 126) AS c
    UNION ALL SELECT 'a' || chr(c) || chr(c) || 'b' FROM generate_series(32, 126) AS c) AS s
    WHERE guestcomms_internal.fold_opt_out(s.said || 'é') <> guestcomms_internal.fold_opt_out(s.said || 'e') $$, 'ASCII is folded as other texts are');
SELECT is(guestcomms_internal.fold_opt_out(t.said), t.folded, t.said)
FROM (VALUES (E' \t«Stop!» \n', 'stop'), ('ＳＴＯＰ。', 'stop'), ('ARRÊT', 'arret'), ('Désabonnement…', 'desabonnement'), ('İPTAL', 'iptal'), ('ıptal', 'iptal'),
    ('ΔΙΑΓΡΑΦΉ', 'διαγραφη'), ('Στοπ;', 'στοπ'), ('Avanmäl', 'avanmal'), ('إلغاء', 'الغاء'), ('إِلْغَاء', 'الغاء'), ('عֲצור', 'عצור'), ('הָסֵר', 'הסר'), ('ｽﾄｯﾌﾟ', 'ストップ'),
    ('수신-거부', '수신 거부'), ('stop 🛑', 'stop'), (E'st\u200Bop', 'stop'), ('Opt-Out', 'opt out'), ('S T O P', 's t o p'), ('!?', ''), (E'.\\[Opt]\t\t(out)\r\n', 'opt out'), (E'é.\\[Opt]\t\t(out)\r\n', 'e opt out')) AS t (said, folded);

SELECT guestcomms.add_tenant('Rose & Quill') AS tenant \gset
SELECT guestcomms.use_tenant(:'tenant');
SELECT is(guestcomms.set_opt_out_words('{Genug!,no  more}', '{bin wieder da}'), 3);
SELECT results_eq('SELECT word, is_stop FROM guestcomms.list_opt_out_words() WHERE languages IS NULL',
    $$ VALUES ('genug', true), ('no more', true), ('bin wieder da', false) $$, 'folded');
SELECT results_eq($$ SELECT languages && '{de,en}' FROM guestcomms.list_opt_out_words() WHERE word = 'stop' AND is_stop $$, 'VALUES (true)');
SELECT is(guestcomms.set_opt_out_words('{}'), 0, 'taken back');
SELECT throws_ok(format('SELECT guestcomms.set_opt_out_words(%L)', t.words), '22023', NULL, t.words)
FROM (VALUES ('{"..."}'), ('{NULL}'), ('{Enough,enough!}'), ('{i want no more messages}'), (format('{%s}', repeat('x', 41)))) AS t (words);
SELECT throws_ok($$ SELECT guestcomms.set_opt_out_words('{genug}', '{genug}') $$, '22023');

SELECT finish();
ROLLBACK;
