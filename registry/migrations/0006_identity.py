import django.core.validators
import django.db.models.deletion
import registry.crypto
import registry.models.apps
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('registry', '0005_hygiene'),
    ]

    operations = [
        migrations.AddField(
            model_name='device',
            name='secret_hash',
            field=models.BinaryField(db_default=b'', max_length=32),
        ),
        migrations.AddField(
            model_name='device',
            name='secret_shown',
            field=models.BooleanField(db_default=False, editable=False),
        ),
        migrations.AddField(
            model_name='device',
            name='sequence',
            field=models.BigIntegerField(blank=True, editable=False, null=True),
        ),
        migrations.AddField(
            model_name='device',
            name='user_tokens_from',
            field=models.BigIntegerField(db_default=0, default=0, editable=False, help_text='user tokens issued before (seconds since 1970) are stale'),
        ),
        migrations.AddField(
            model_name='mobileapp',
            name='installation_secrets',
            # Phones of apps that are there keep no secret yet.
            field=models.BooleanField(default=False, help_text='Phones with a mobile key get a secret with their first answer and have to show it from then on, so that a leaked installation id takes nothing over'),
            preserve_default=False,
        ),
        migrations.AlterField(
            model_name='mobileapp',
            name='installation_secrets',
            field=models.BooleanField(default=True, help_text='Phones with a mobile key get a secret with their first answer and have to show it from then on, so that a leaked installation id takes nothing over'),
        ),
        migrations.AlterField(
            model_name='mobileapp',
            name='identity',
            field=models.CharField(choices=[('jwt', "a signed token of the user's (JWT), or a server key"), ('backend', 'only server keys'), ('unverified', "any key: anybody can get anybody's messages (for trying out)")], default='jwt', help_text='Who may say which user a phone belongs to', max_length=16),
        ),
        migrations.CreateModel(
            name='TokenIssuer',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('issuer', models.CharField(help_text='The claim iss, exactly as the tokens have it', max_length=500)),
                ('audience', models.CharField(help_text='The claim aud, or one of its values', max_length=500)),
                ('jwks_url', models.URLField(blank=True, default='', max_length=500, verbose_name='JWKS URL')),
                ('public_keys', models.TextField(blank=True, default='', help_text='PEM, one or several one after the other')),
                ('secret', registry.crypto.EncryptedTextField(blank=True, default='', verbose_name='shared secret')),
                ('algorithms', models.JSONField(default=registry.models.apps.default_algorithms)),
                ('leeway', models.PositiveSmallIntegerField(default=30, help_text='Seconds that the clocks may differ', validators=[django.core.validators.MaxValueValidator(300)])),
                ('user_claim', models.CharField(default='sub', max_length=128)),
                ('email_claim', models.CharField(blank=True, default='email', max_length=128, verbose_name='e-mail claim')),
                ('phone_claim', models.CharField(blank=True, default='phone_number', max_length=128)),
                ('installation_claim', models.CharField(blank=True, default='', help_text='Where set, a token is good for the installation in it only', max_length=128)),
                ('trust_unmarked', models.BooleanField(default=False, help_text='Take e-mail and phone also where the token lacks email_verified or phone_number_verified: only for an issuer that proves them itself. One marked as not verified is never taken', verbose_name='trust unmarked addresses')),
                ('keys', models.JSONField(blank=True, editable=False, null=True)),
                ('keys_fetched_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('keys_error', models.CharField(blank=True, default='', editable=False, max_length=500)),
                ('keys_failing_since', models.DateTimeField(blank=True, editable=False, null=True)),
                ('keys_asked_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('keys_due_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('app', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='token_issuer', to='registry.mobileapp')),
            ],
            options={
                'constraints': [models.CheckConstraint(condition=models.Q(models.Q(models.Q(('jwks_url', ''), _negated=True), ('public_keys', ''), ('secret', '')), models.Q(models.Q(('public_keys', ''), _negated=True), ('jwks_url', ''), ('secret', '')), models.Q(models.Q(('secret', ''), _negated=True), ('jwks_url', ''), ('public_keys', '')), _connector='OR'), name='tokenissuer_one_proof')],
            },
        ),
    ]
