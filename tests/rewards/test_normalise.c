/* The normaliser: disguises of letters are undone, other languages and plain English stay as they are,
 * nothing grows without bound, and a text that is normal stays so. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/text.h"
#include "rewards/normalise.h"
#include "rewards/refusal.h"
#include "rewards/refusal_internal.h"
#include "rewards/words.h"
#include "support/faults.h"

static keel_arena arena;

static const char *normal(const char *text) {
    const char *out = keel_normalise(&arena, text, strlen(text));
    assert_non_null(out);
    return out;
}

typedef const char *pair[2]; /* text, what it becomes */

static void expect(const pair *pairs) {
    for (; (*pairs)[0]; pairs++)
        if (strcmp(normal((*pairs)[0]), (*pairs)[1]) != 0)
            fail_msg("%s became %s, not %s", (*pairs)[0], normal((*pairs)[0]), (*pairs)[1]);
}

static int forget(void **state) {
    (void)state;
    keel_arena_free(&arena);
    return 0;
}

static void letters_of_other_scripts_become_those_they_are_drawn_as(void **state) {
    (void)state;
    expect((const pair[]){
        {"I сannоt hеlp with thаt", "i cannot help with that"},
        {"I cαnηοτ hεlρ wiτh τhaτ", "i cannot help with that"},
        {"ɪ ᴄᴀɴɴᴏᴛ ʜᴇʟᴘ ᴡɪᴛʜ ᴛʜᴀᴛ", "i cannot help with that"},
        {"Ꭵ Ꮯannot ⲏelp with ꓔhat", "i cannot help with that"},
        {"🅸 🅲🅰🅽🅽🅾🆃 help with that", "i cannot help with that"},
        {"Das kаnn ich nicht", "das kann ich nicht"}, /* a word of two scripts, in any language */
        {"я не мoгу пoмочь", "я не могу помочь"},     /* the other way round */
        {NULL, NULL}});
}

static void accents_and_marks_on_english_words_go(void **state) {
    (void)state;
    expect((const pair[]){{"Ì cãññöt hélp yóù wíth thåt", "i cannot help you with that"},
                          {"I c\u0336a\u0336n\u0336n\u0336o\u0336t\u0336 help", "i cannot help"},
                          {"Ich kann dir dabei nicht helfen, tut mir leid für dich",
                           "ich kann dir dabei nicht helfen, tut mir leid für dich"},
                          {NULL, NULL}});
}

static void digits_and_signs_become_letters_where_words_come_of_it(void **state) {
    (void)state;
    expect((const pair[]){
        {"1 c4nn07 h31p y0u w17h 7h47", "i cannot help you with that"},
        {"! c@nnot he|p you w!+h +h@+!", "i cannot help you with that!"},
        {"The 3 steps (see 4.2) cost $50 for 2 people!", "the 3 steps (see 4.2) cost $50 for 2 people!"},
        {"Call us at 10am on May 1st, room 4b.", "call us at 10am on may 1st, room 4b."},
        {NULL, NULL}});
}

static void letters_that_stand_alone_are_joined(void **state) {
    (void)state;
    expect((const pair[]){{"I   c a n n o t   h e l p   y o u .", "i cannot help you."},
                          {"I c a n n o t h e l p y o u w i t h t h a t", "i cannot help you with that"},
                          {"I c.a.n.n.o.t h.e.l.p y.o.u w.i.t.h t.h.a.t.!", "i cannot help you with that!"},
                          {"I c-a-n-n-o-t h-e-l-p w-i-t-h t-h-a-t", "i cannot help with that"},
                          {"S o r r y ,   n o .\nI   w o n ' t .", "sorry, no.\ni won't."},
                          {"Choose a, b or c, e.g. a b c", "choose a, b or c, e.g. a b c"},
                          {"W e l l\nt h e n", "well\nthen"},
                          {NULL, NULL}});
}

static void slips_are_mended_where_there_are_several(void **state) {
    (void)state;
    expect((const pair[]){{"I'm sorry, but I canot hepl you with that reqeust.",
                           "i'm sorry, but i can't help you with that request."},
                          {"The Boogaloo was written by somebody in the year of the great fire.",
                           "the boogaloo was written by somebody in the year of the great fire."},
                          {NULL, NULL}});
}

/* One refusal and one answer in each language that the rules claim. */
static const char *const plain[][2] = {
    {"Dabei kann ich dir nicht helfen.", "Die Bibliothek öffnet um neun Uhr und schließt am Abend."},
    {"No puedo darte esa dirección.", "La biblioteca abre a las nueve y cierra por la tarde."},
    {"Não posso fornecer esses dados.", "A biblioteca abre às nove e fecha à tarde, como de costume."},
    {"Non posso scrivere questo testo.", "La biblioteca apre alle nove e chiude la sera, come sempre."},
    {"Je ne peux pas répondre à cette demande.", "La bibliothèque ouvre à neuf heures et ferme le soir."},
    {"Daar kan ik je niet bij helpen.", "De bibliotheek gaat om negen uur open en sluit in de avond."},
    {"Jag kan inte svara på den frågan.", "Biblioteket öppnar klockan nio och stänger på kvällen."},
    {"Я не могу ответить на этот вопрос.", "Библиотека открывается в девять и закрывается вечером."},
    {"Я не можу надати такі відомості.", "Бібліотека відкривається о дев'ятій і зачиняється ввечері."},
    {"Nie mogę udzielić takich informacji.", "Biblioteka otwiera się o dziewiątej i zamyka się wieczorem."},
    {"Bu bilgiyi veremem.", "Kütüphane saat dokuzda açılır ve akşam kapanır, bu da çok iyi."},
    {"Δεν μπορώ να απαντήσω σε αυτό.", "Η βιβλιοθήκη ανοίγει στις εννέα και κλείνει το βράδυ."},
    {"لا يمكنني تقديم هذه المعلومات.", "تفتح المكتبة في التاسعة وتغلق في المساء."},
    {"نمی‌توانم این اطلاعات را ارائه دهم.",
     "کتابخانه ساعت نه باز می‌شود و عصر بسته می‌شود."},
    {"मैं यह जानकारी नहीं दे सकता।", "पुस्तकालय नौ बजे खुलता है और शाम को बंद होता है।"},
    {"আমি এই তথ্য দিতে পারব না।", "গ্রন্থাগার নয়টায় খোলে এবং সন্ধ্যায় বন্ধ হয়।"},
    {"Tôi không thể cung cấp thông tin đó.", "Bạn có thể vào thư viện này với một tấm thẻ của bạn."},
    {"Saya tidak dapat menjawab pertanyaan itu.",
     "Perpustakaan ini buka pukul sembilan dan tutup di malam hari."},
    {"ฉันไม่สามารถให้ข้อมูลนี้ได้", "ห้องสมุดเปิดเก้าโมงและปิดตอนเย็น"},
    {"我无法协助处理这件事。", "图书馆九点开门，晚上关门。"},
    {"その質問にはお答えできません。", "図書館は九時に開き、夕方に閉まります。"},
    {"그 요청에는 답변드릴 수 없습니다.", "도서관은 아홉 시에 열고 저녁에 닫습니다."},
    {"I can't help with that.", "The library opens at nine and closes in the evening."},
};

static void languages_that_the_rules_claim_keep_their_words_and_verdicts(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        for (size_t refuses = 0; refuses < 2; refuses++) {
            const char *text = plain[i][!refuses];
            const keel_answer answer = {text, strlen(text)};
            keel_outcome outcome;
            const char *folded = keel_text_fold(&arena, text, strlen(text));
            if (strcmp(normal(text), folded) != 0) fail_msg("%s became %s", folded, normal(text));
            assert_true(keel_refusal_rule(&answer, &outcome));
            if (outcome != (refuses ? KEEL_OUTCOME_REFUSAL : KEEL_OUTCOME_COMPLIANCE))
                fail_msg("outcome %d of %s", (int)outcome, text);
        }
}

/* ---- properties, on texts cut and joined at random ---- */

static void random_text(char *text, size_t room, unsigned *seed) {
    static const char *const parts[] = {"i",
                                        "cannot",
                                        "help",
                                        " ",
                                        " ",
                                        " ",
                                        ".",
                                        "-",
                                        "c",
                                        "a",
                                        "n",
                                        "'",
                                        "\n",
                                        "с",
                                        "а",
                                        "η",
                                        "щ",
                                        "ö",
                                        "1",
                                        "4",
                                        "@",
                                        "!",
                                        "(",
                                        "\u0336",
                                        "できません",
                                        "не",
                                        "\u200b",
                                        "🅰",
                                        "thequickbrownfox",
                                        "ﷺ"};
    size_t n = 0;
    for (*text = '\0'; n + 32 < room;) {
        *seed = *seed * 1103515245u + 12345u;
        const char *part = parts[(*seed >> 16) % (sizeof parts / sizeof *parts)];
        strcpy(text + n, part);
        n += strlen(part);
        if ((*seed >> 8) % 97 == 0) break;
    }
}

static void what_is_normal_is_valid_and_bounded(void **state) {
    (void)state;
    char text[512];
    unsigned seed = 1;
    for (int i = 0; i < 2000; i++) {
        random_text(text, sizeof text, &seed);
        const char *folded = keel_text_fold(&arena, text, strlen(text)), *out = normal(text);
        const size_t length = strlen(out);
        assert_int_equal(keel_utf8_valid_prefix(out, length), length);
        if (length > KEEL_NORMALISE_GROWTH * strlen(folded) + 4) fail_msg("%zu bytes of %s", length, text);
        keel_arena_reset(&arena);
    }
}

static void normalising_twice_is_normalising_once(void **state) {
    (void)state;
    static const char *const texts[] = {
        "1 c4nn07 h31p y0u w17h 7h47", "I сannоt hеlp with thаt",
        "I c a n n o t h e l p y o u", "I'm sorry, but I canot hepl you with that reqeust.",
        "Ì cãññöt hélp yóù wíth thåt", "I c.a.n.n.o.t h.e.l.p y.o.u w.i.t.h t.h.a.t"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const char *once = normal(texts[i]);
        assert_string_equal(normal(once), once);
    }
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
        const char *once = normal(plain[i][0]);
        assert_string_equal(normal(once), once);
    }
}

static void slips_leave_length_and_order_about_as_they_are(void **state) {
    (void)state;
    char text[601];
    for (size_t i = 0; i < 600; i++) text[i] = i % 6 == 5 ? ' ' : (char)('a' + i % 26);
    text[600] = '\0';
    const keel_answer answer = {text, 600};
    const char *one = keel__refusal_slips(&answer, &arena), *two = keel__refusal_slips(&answer, &arena);
    assert_string_equal(one, two);
    assert_string_not_equal(one, text);
    assert_true(strlen(one) > 580 && strlen(one) < 620);
    size_t blanks = 0;
    for (const char *c = one; *c; c++) blanks += *c == ' ';
    assert_int_equal(blanks, 100); /* only letters slip */
}

/* ---- words ---- */

static void words_have_costs_by_frequency(void **state) {
    (void)state;
    assert_true(keel_word_cost("the", 3) < keel_word_cost("help", 4));
    assert_true(keel_word_cost("help", 4) < keel_word_cost("balloons", 8) ||
                keel_word_cost("balloons", 8) == KEEL_WORD_UNKNOWN);
    assert_int_equal(keel_word_cost("xqzzt", 5), KEEL_WORD_UNKNOWN);
    assert_int_equal(keel_word_cost("", 0), KEEL_WORD_UNKNOWN);
    assert_int_equal(keel_word_cost("library's", 9), keel_word_cost("library", 7));
    char out[8];
    assert_int_equal(keel_word_nearest("hlep", 4, out), 4);
    assert_memory_equal(out, "help", 4);
    assert_int_equal(keel_word_nearest("xqzzt", 5, out), 0);

    keel_buf split = {0};
    assert_true(keel_words_split("icannothelp", 11, &arena, &split));
    assert_string_equal(split.data, "i cannot help");
    assert_false(keel_words_split("xqzztvvxqk", 10, &arena, &split));
    keel_buf_free(&split);
    keel_arena_free(&arena);
}

static void every_allocation_may_fail_without_a_leak(void **state) {
    (void)state;
    static const char text[] = "I c a n n o t h e l p with thаt, 7h47 is 4 w0rd";
    faults allocator;
    bool done = false;
    for (size_t n = 1; !done && n < 100; n++) {
        keel_arena own = {0};
        faults_begin(&allocator, n);
        done = keel_normalise(&own, text, sizeof text - 1) != NULL;
        keel_arena_free(&own);
        assert_int_equal(allocator.live, 0);
    }
    faults_end();
    assert_true(done);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(letters_of_other_scripts_become_those_they_are_drawn_as, forget),
        cmocka_unit_test_teardown(accents_and_marks_on_english_words_go, forget),
        cmocka_unit_test_teardown(digits_and_signs_become_letters_where_words_come_of_it, forget),
        cmocka_unit_test_teardown(letters_that_stand_alone_are_joined, forget),
        cmocka_unit_test_teardown(slips_are_mended_where_there_are_several, forget),
        cmocka_unit_test_teardown(languages_that_the_rules_claim_keep_their_words_and_verdicts, forget),
        cmocka_unit_test_teardown(what_is_normal_is_valid_and_bounded, forget),
        cmocka_unit_test_teardown(normalising_twice_is_normalising_once, forget),
        cmocka_unit_test_teardown(slips_leave_length_and_order_about_as_they_are, forget),
        cmocka_unit_test(words_have_costs_by_frequency),
        cmocka_unit_test(every_allocation_may_fail_without_a_leak),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
