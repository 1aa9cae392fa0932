"""Django's settings, derived from `smsgateway.config`. Ours are in `CONFIG`: `settings.CONFIG.kafka.brokers`."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path

from smsgateway import admin_theme, config
from smsgateway.postgres.django_settings import database_settings

BASE_DIR = Path(__file__).resolve().parent.parent
DEVSERVICES_DIR = Path(os.environ.get("DEVSERVICES_DIR") or BASE_DIR / ".devservices")

config.read_files(BASE_DIR / ".env", DEVSERVICES_DIR / "env")
CONFIG, CONFIG_PROBLEMS = config.load(os.environ)
CONFIG_WARNINGS = config.warnings(os.environ)

SECRET_KEY = CONFIG.general.secret_key
DEBUG = False
ALLOWED_HOSTS = CONFIG.http.allowed_hosts
ROOT_URLCONF = f"smsgateway.urls.{CONFIG.general.service}"
WSGI_APPLICATION = "smsgateway.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
# The page after a login that was opened directly.
LOGIN_REDIRECT_URL = "admin:index"
TIME_ZONE = "UTC"
USE_I18N = False
APPEND_SLASH = False

# In development the API also serves the admin. When deployed, the admin is a separate service that need not be public.
SERVES_ADMIN = CONFIG.general.service == "admin" or (
    CONFIG.general.service == "api" and CONFIG.general.environment == "development"
)

INSTALLED_APPS = [
    "unfold",
    "django.contrib.admin.apps.SimpleAdminConfig",  # the admin's modules load with its URLs, so only where it is served
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "django_prometheus",
    "django_otp",
    "django_otp.plugins.otp_totp",
    "django_otp.plugins.otp_static",
    "axes",
    "smsgateway",
    "apps.customers",
    "apps.balance",
    "apps.sms",
    "apps.reporting",
    "apps.reconciliation",
    "apps.console",
]
if CONFIG.general.environment == "development":
    INSTALLED_APPS.append("apps.devservices")

MIDDLEWARE = [
    "smsgateway.http.middleware.request_context",
]
if SERVES_ADMIN:
    MIDDLEWARE.append("apps.console.middleware.admin_only")
# These checks look for middleware that `admin_only` runs itself.
SILENCED_SYSTEM_CHECKS = ["admin.E408", "admin.E409", "admin.E410", "axes.W002"]

DATABASES = {"default": database_settings(CONFIG.database)}

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": [],
    "DEFAULT_THROTTLE_CLASSES": [],
    "UNAUTHENTICATED_USER": None,
    "DEFAULT_RENDERER_CLASSES": ["smsgateway.http.json_renderer.JsonRenderer"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "smsgateway.http.problems.exception_response",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "SMS gateway",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "POSTPROCESSING_HOOKS": [],  # smsgateway.http.openapi completes the documents
    "SCHEMA_PATH_PREFIX": "/v1",
}

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
_deployed = CONFIG.general.environment in config.DEPLOYED
SESSION_COOKIE_AGE = CONFIG.admin.session_idle  # apps.console.sessions prolongs it with each request
SESSION_COOKIE_PATH = CSRF_COOKIE_PATH = "/admin/"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _deployed
CSRF_TRUSTED_ORIGINS = CONFIG.admin.origins
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",  # refuses logins after too many failures
    "django.contrib.auth.backends.ModelBackend",
]
if CONFIG.admin.oidc_issuer:
    AUTHENTICATION_BACKENDS.append("apps.console.sign_on.backend.SignOnBackend")
OIDC_RP_CLIENT_ID, OIDC_RP_CLIENT_SECRET = CONFIG.admin.oidc_client_id, CONFIG.admin.oidc_client_secret
OIDC_RP_SCOPES = CONFIG.admin.oidc_scopes
OIDC_AUTHENTICATION_CALLBACK_URL = "console:sign-on-callback"
OIDC_USE_PKCE = True
OIDC_TIMEOUT = 5
OIDC_VERIFY_SSL = CONFIG.admin.oidc_ca_file or True
OTP_TOTP_ISSUER = "SMS gateway"
AXES_FAILURE_LIMIT = CONFIG.admin.login_failures
AXES_COOLOFF_TIME = dt.timedelta(seconds=CONFIG.admin.login_lock)
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_CLIENT_IP_CALLABLE = "apps.console.logins.address_text"
AXES_WHITELIST_CALLABLE = "apps.console.logins.is_sign_on"
AXES_LOCKOUT_CALLABLE = "apps.console.logins.locked_out"
AXES_RESET_ON_SUCCESS = True
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_DISABLE_ACCESS_LOG = True  # the audit log has the logins
AXES_ENABLE_ADMIN = AXES_VERBOSE = False
STATIC_URL = "/admin/static/"
WHITENOISE_USE_FINDERS = True  # serves files from the packages, so there is no collectstatic
UNFOLD = admin_theme.UNFOLD

EMAIL_HOST, EMAIL_PORT = CONFIG.email.host, CONFIG.email.port
EMAIL_USE_TLS, EMAIL_USE_SSL = CONFIG.email.security == "starttls", CONFIG.email.security == "tls"
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = CONFIG.email.user, CONFIG.email.password
EMAIL_TIMEOUT, DEFAULT_FROM_EMAIL = CONFIG.email.timeout, CONFIG.email.sender

DATA_UPLOAD_MAX_MEMORY_SIZE = CONFIG.http.max_body_bytes

LOGGING_CONFIG = "smsgateway.logs.configure"
LOGGING = {"level": CONFIG.general.log_level, "format": CONFIG.general.log_format}
