"""Makes `demo_messages.csv`, the messages of `make demo`. The same seed gives the same file:

    python scripts/make_demo_messages.py > scripts/demo_messages.csv

Three businesses: a bank (one-time passwords, receipts), a clinic (reminders, results) and a shop (campaigns). English
and Persian, emoji, characters of the GSM 7-bit extension table, one segment and many; numbers of MCI, Irancell and
RighTel in the ways people write them. Some numbers and texts are invalid.
"""

from __future__ import annotations

import csv
import random
import sys

SEED = 20_260_101
COUNTS = {"bank": 1000, "clinic": 500, "shop": 900}
SENDERS = {"bank": ["BANK", "+985000111"], "clinic": ["CLINIC", ""], "shop": ["SHOP", "3000505"]}
INVALID_SHARE = 0.03
MAGIC_SHARE = 0.02

MCI = ("910", "911", "912", "913", "915", "916", "917", "918", "919", "990", "991", "992", "993")
IRANCELL = ("901", "902", "903", "905", "930", "933", "935", "936", "937", "938", "939")
RIGHTEL = ("920", "921", "922")
# The operator simulator misbehaves with numbers that end so: see apps/sms/simulator. 0007 is left out: it never ends;
# and 0010 and 0011, which are tried again though they were taken.
MAGIC = ("0002", "0003", "0004", "0005", "0006", "0008")

INVALID_NUMBERS = (
    "02188776655",  # a landline
    "0912345",
    "09",
    "+98",
    "+1 202 555 01",
    "989121234567890123",
    "0912-CALL-NOW",
    "sara",
    "",
    "+9899912345678",
    "۰۲۱۸۸۷۷۶۶۵۵",
)

NAMES = ("Sara", "Ali", "Neda", "Reza", "Zoë", "José", "Mina", "Omid", "Kaveh", "Anaïs")
NAMES_FA = ("سارا", "علی", "ندا", "رضا", "مینا", "امید", "کاوه", "لیلا", "پریسا", "حسین")
GOODS = ("headphones", "running shoes", "a kettle", "a desk lamp", "tea glasses", "a backpack", "winter tyres")
GOODS_FA = ("هدفون بی‌سیم", "کفش ورزشی", "کتری برقی", "چراغ مطالعه", "استکان کمرباریک", "کوله‌پشتی", "فرش دستباف")
DOCTORS = ("Dr. Ahmadi", "Dr. Karimi", "Dr. Öztürk", "Dr. Müller", "Dr. Rahimi")
DOCTORS_FA = ("دکتر احمدی", "دکتر کریمی", "دکتر رحیمی", "دکتر مرادی", "دکتر نوری")


# Weight and text of each kind.
BANK = [
    (30, "{code} is your one-time password. It is valid for 2 minutes. Never tell it to anybody."),
    (20, "رمز یکبار مصرف شما: {code}\nاعتبار: ۲ دقیقه\nاین رمز را به هیچ‌کس نگویید."),
    (12, "Card *{card}: purchase {amount} IRR on 03/{day} {hour}:15."),
    (12, "برداشت از حساب *{card}\nمبلغ: {amount} ریال\nمانده: {code}،۰۰۰ ریال\n{hour}:۱۵"),
    (8, "Transfer received: {amount} € [ref {order}] from {name} {{SEPA}}. Fee: 0 €."),
    (
        6,
        (
            "Dear {name}, your loan instalment of {amount} IRR is due on day {day} of this month. Please keep enough "
            "money in the account that ends in {card}; a late payment costs 6 % a year. To pay now, open the app, "
            "choose Loans, then Pay. Questions: call 1500 from {hour}:00. Thank you for banking with us."
        ),
    ),
    (
        6,
        (
            "{name_fa} عزیز، قسط تسهیلات شما به مبلغ {amount} ریال در روز {day} ماه سررسید می‌شود. لطفاً موجودی حساب "
            "خود را تا پیش از ساعت {hour} کامل کنید. در صورت تأخیر، جریمهٔ دیرکرد محاسبه خواهد شد. برای پرداخت به "
            "همراه‌بانک، بخش تسهیلات بروید. سپاس از همراهی شما."
        ),
    ),
    (6, "⚠️ New sign-in to your account at {hour}:42. Not you? Lock it: https://bank.example/l/{code}"),
]
CLINIC = [
    (25, "Reminder: {name}, your appointment with {doctor} is on 12/{day} at {hour}:30."),
    (25, "یادآوری: {name_fa} گرامی، نوبت شما با {doctor_fa} روز {day} آذر ساعت {hour}:۳۰ است."),
    (10, "Your results are ready 🩺 See them at https://clinic.example/r/{code}"),
    (10, "جواب آزمایش شما آماده است 🧪 کد پیگیری: {order}"),
    (
        15,
        (
            "Dear {name}, before your blood test at {hour}:00 please do not eat or drink anything but water for 12 "
            "hours, and bring your insurance card and the letter of {doctor}. If you take medicine for your heart or "
            "for diabetes, ask us first: 021-5550. The entrance is in the side street; parking is free for one hour "
            "[bring the ticket]."
        ),
    ),
    (
        15,
        (
            "{name_fa} گرامی، پیش از آزمایش ساعت {hour} لطفاً دوازده ساعت ناشتا باشید و فقط آب بنوشید. دفترچهٔ بیمه "
            "و معرفی‌نامهٔ {doctor_fa} را همراه داشته باشید. اگر دارو مصرف می‌کنید پیش از مراجعه با ما تماس بگیرید. "
            "نشانی: خیابان بهار، پلاک {day}، طبقهٔ دوم."
        ),
    ),
]
SHOP = [
    (20, "Order {order} is on its way. {goods_first} will reach you today before {hour}:00."),
    (15, "سفارش {order} ارسال شد. {goods_fa} امروز تا ساعت {hour} به دست شما می‌رسد. 📦"),
    (15, "🎉 {percent}% off {goods} until midnight! Code [SALE{sale}] 🛒"),
    (15, "🌙 جشنوارهٔ یلدا! {percent}٪ تخفیف {goods_fa} با کد YALDA{sale} 🍉🍉"),
    (
        15,
        (
            "{name}, our spring sale has begun: {goods} from {price} €, {{members}} pay {member_price} € | free "
            "delivery above 50 € | returns within 30 days ~ no questions. Use the code SPRING-{code} at "
            "https://shop.example/spring or show this message in the shop. One code for each customer; it ends on "
            "Friday at midnight. Stop: answer [0]."
        ),
    ),
    (
        15,
        (
            "{name_fa} عزیز، فروش ویژهٔ بهار آغاز شد! {goods_fa} با تخفیف {percent} درصد، ارسال رایگان برای خریدهای "
            "بالای {amount} ریال و بازگشت کالا تا ۳۰ روز. کد تخفیف شما: SPRING{code} — تا جمعه نیمه‌شب فرصت دارید. "
            "🌸🌷 برای لغو عدد ۰ را بفرستید."
        ),
    ),
    (5, "How was {goods}? ⭐⭐⭐⭐⭐ Tell us: https://shop.example/rate/{order}"),
]
TEXTS: dict[str, list[tuple[int, str]]] = {"bank": BANK, "clinic": CLINIC, "shop": SHOP}


def ordinary(chance: random.Random) -> str:
    """Four last digits that are not magic for the simulator: numbers up to 0011 are."""
    last = chance.randint(9, 9999)
    return f"{last if last > 11 else last + 90:04d}"


def number(chance: random.Random) -> str:
    """A mobile number in one of the usual ways to write it."""
    prefix = chance.choice(chance.choices([MCI, IRANCELL, RIGHTEL], weights=[55, 35, 10])[0])
    last = chance.choice(MAGIC) if chance.random() < MAGIC_SHARE else ordinary(chance)
    middle = f"{chance.randint(100, 999)}"
    plain = f"0{prefix}{middle}{last}"
    written = [
        f"+98{prefix}{middle}{last}",
        plain,
        f"0098{prefix}{middle}{last}",
        f"0{prefix} {middle} {last}",
        f"+98 ({prefix}) {middle}-{last}",
        plain.translate(str.maketrans("0123456789", "۰۱۲۳۴۵۶۷۸۹")),
    ]
    return chance.choices(written, weights=[45, 40, 3, 5, 3, 4])[0]


def text(customer: str, chance: random.Random) -> str:
    """One of the customer's texts, with its values."""
    weights = [weight for weight, _ in TEXTS[customer]]
    templates = [template for _, template in TEXTS[customer]]
    goods, day, order = chance.choice(GOODS), chance.randint(1, 28), chance.randint(1_000_000, 9_999_999)
    return chance.choices(templates, weights=weights)[0].format(
        name=chance.choice(NAMES),
        name_fa=chance.choice(NAMES_FA),
        code=chance.randint(100_000, 999_999),
        amount=f"{chance.randint(10, 9_999) * 1000:,}",
        day=day,
        hour=chance.randint(8, 19),
        order=order,
        card=f"{order % 10_000:04d}",
        sale=order % 1000,
        percent=day + 9,
        price=day + 10,
        member_price=day + 8,
        goods=goods,
        goods_first=goods.capitalize(),
        goods_fa=chance.choice(GOODS_FA),
        doctor=chance.choice(DOCTORS),
        doctor_fa=chance.choice(DOCTORS_FA),
    )


def rows(chance: random.Random) -> list[list[str]]:
    """Rows of customer, to, text, from, reference, in random order."""
    customers = [customer for customer, count in COUNTS.items() for _ in range(count)]
    chance.shuffle(customers)
    made = []
    for position, customer in enumerate(customers, start=1):
        recipient, words = number(chance), text(customer, chance)
        if chance.random() < INVALID_SHARE:
            recipient = chance.choice(INVALID_NUMBERS)
        elif chance.random() < INVALID_SHARE / 10:
            words = ""
        made.append([customer, recipient, words, chance.choice(SENDERS[customer]), f"{customer}-{position:05d}"])
    return made


def main() -> None:
    sys.stdout.reconfigure(encoding="utf-8", newline="")  # type: ignore[union-attr]
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["customer", "to", "text", "from", "reference"])
    writer.writerows(rows(random.Random(SEED)))


if __name__ == "__main__":
    main()
